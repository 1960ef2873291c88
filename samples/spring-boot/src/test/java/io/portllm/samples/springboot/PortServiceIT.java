package io.portllm.samples.springboot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledForJreRange;
import org.junit.jupiter.api.io.TempDir;

/** Runs the packaged service, and asks it over HTTP. */
class PortServiceIT {
  /** Absolute: Spring takes relative paths for places on the class path. */
  private static final Path MODELS =
      Path.of("../../portllm-cli/src/main/resources/io/portllm/cli/demo/models").toAbsolutePath().normalize();
  private static final Pattern STARTED = Pattern.compile("Tomcat started on port (\\d+)");

  @TempDir static Path folder;

  private static Process service;
  private static int port;

  @BeforeAll
  static void start() throws Exception {
    Path log = folder.resolve("log.txt");
    List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xmx128m"));
    if (Runtime.version().feature() >= 25) {
      command.addAll(List.of("--add-modules", "jdk.incubator.vector"));
    }
    command.addAll(List.of("-jar", "target/port-service.jar", "--server.port=0", "--server.address=127.0.0.1"));
    command.addAll(List.of("--portllm.models=" + MODELS, "--portllm.tenants=" + MODELS));
    command.addAll(List.of("--portllm.base=v1", "--portllm.ports=" + folder.resolve("ports")));
    Files.createDirectory(folder.resolve("ports"));
    service = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
    Instant deadline = Instant.now().plus(Duration.ofMinutes(3));
    while (Instant.now().isBefore(deadline) && service.isAlive()) {
      Matcher started = STARTED.matcher(Files.readString(log));
      if (started.find()) {
        port = Integer.parseInt(started.group(1));
        return;
      }
      Thread.sleep(200);
    }
    fail(Files.readString(log));
  }

  @AfterAll
  static void stop() throws InterruptedException {
    service.destroy();
    service.waitFor();
  }

  @Test
  void tellsWhetherAnAdapterWillWork() throws Exception {
    HttpResponse<String> good = ask("GET", "/tenants/climbs-lora/checks/v2");
    assertEquals(200, good.statusCode(), good.body());
    assertTrue(good.body().matches("(?s).*\"verdict\"\\s*:\\s*\"PORT\".*"), good.body());
    HttpResponse<String> bad = ask("GET", "/tenants/climbs-lora/checks/independent");
    assertTrue(bad.body().matches("(?s).*\"verdict\"\\s*:\\s*\"DO_NOT_PORT\".*"), bad.body());
  }

  @Test
  void portsOnceAndRefusesToOverwrite() throws Exception {
    HttpResponse<String> first = ask("POST", "/tenants/climbs-lora/ports/v3");
    assertEquals(201, first.statusCode(), first.body());
    assertTrue(first.body().contains("\"touched\":737280"), first.body());
    assertTrue(Files.isRegularFile(folder.resolve("ports/climbs-lora-on-v3/model.safetensors")));
    HttpResponse<String> second = ask("POST", "/tenants/climbs-lora/ports/v3");
    assertEquals(409, second.statusCode(), second.body());
    assertTrue(second.body().contains("climbs-lora-on-v3"), second.body());
  }

  @Test
  void namesWhatItDoesNotKnow() throws Exception {
    assertEquals(404, ask("GET", "/tenants/climbs-lora/checks/v9").statusCode());
    assertEquals(404, ask("GET", "/tenants/.hidden/checks/v2").statusCode());
    HttpResponse<String> nobody = ask("POST", "/tenants/nobody/ports/v2");
    assertEquals(404, nobody.statusCode());
    assertTrue(nobody.body().contains("nobody"), nobody.body());
  }

  /** Classes for newer JDKs must be found in jars within the jar too. */
  @Test
  @EnabledForJreRange(minVersion = 25)
  void usesTheVectorApiWhereTheProcessorHasWideVectors() throws Exception {
    Path processor = Path.of("/proc/cpuinfo");
    assumeTrue(Files.isReadable(processor) && Files.readString(processor).contains(" avx2 "), "no Linux, or a processor without AVX2");
    assertTrue(Files.readString(folder.resolve("log.txt")).contains("base v1, arithmetic: vector"));
  }

  private static HttpResponse<String> ask(String method, String path) throws IOException, InterruptedException {
    HttpRequest request =
        HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path)).method(method, HttpRequest.BodyPublishers.noBody()).build();
    return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
  }
}
