package io.portllm.samples.springboot;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.context.properties.EnableConfigurationProperties;

/** The service. */
@SpringBootApplication
@EnableConfigurationProperties(Folders.class)
public class PortService {
  /** Starts it. */
  public static void main(String[] arguments) {
    SpringApplication.run(PortService.class, arguments);
  }
}
