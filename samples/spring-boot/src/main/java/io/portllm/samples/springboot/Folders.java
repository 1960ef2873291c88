package io.portllm.samples.springboot;

import java.nio.file.Files;
import java.nio.file.Path;
import org.springframework.boot.context.properties.ConfigurationProperties;

/**
 * Where things are.
 *
 * @param models a folder of base models, one folder each
 * @param tenants a folder of adapters, one folder for each tenant
 * @param base the model in {@code models} that the adapters were trained on
 * @param ports where ported models are written
 */
@ConfigurationProperties("portllm")
record Folders(Path models, Path tenants, String base, Path ports) {
  Path model(String name) {
    return existing(models, name);
  }

  Path tenant(String name) {
    return existing(tenants, name);
  }

  Path port(String tenant, String model) {
    return ports.resolve(tenant + "-on-" + model);
  }

  /** Names come from requests: only a child of the folder will do. */
  private static Path existing(Path folder, String name) {
    if (!name.matches("[A-Za-z0-9][A-Za-z0-9._-]*") || !Files.isDirectory(folder.resolve(name))) {
      throw new UnknownNameException(name);
    }
    return folder.resolve(name);
  }
}
