package io.portllm.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.Patch;
import io.portllm.cli.Main;
import io.portllm.io.Checkpoints;
import java.io.IOException;
import java.io.InputStream;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.jar.JarFile;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** The published jars: their module names, their packages, and what else is in them. */
class ModulesTest {
  private static List<Path> jars() throws URISyntaxException {
    List<Path> jars = new ArrayList<>();
    for (Class<?> type : List.of(Patch.class, Checkpoints.class, Main.class)) {
      Path jar = Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
      if (Files.isDirectory(jar)) {
        Assumptions.abort("the modules are not packaged: run mvn package");
      }
      jars.add(jar);
    }
    return jars;
  }

  private static List<ModuleDescriptor> modules() throws URISyntaxException {
    return ModuleFinder.of(jars().toArray(new Path[0])).findAll().stream().map(each -> each.descriptor()).toList();
  }

  /** The packages that more than one module has. */
  private static Set<String> split(List<ModuleDescriptor> modules) {
    Map<String, Integer> counts = new HashMap<>();
    modules.forEach(module -> module.packages().forEach(each -> counts.merge(each, 1, Integer::sum)));
    counts.values().removeIf(count -> count == 1);
    return counts.keySet();
  }

  @Test
  void eachHasAModuleNameOfItsOwn() throws URISyntaxException {
    assertEquals(
        List.of("io.portllm.cli", "io.portllm.core", "io.portllm.io"), modules().stream().map(ModuleDescriptor::name).sorted().toList());
  }

  @Test
  void noPackageIsInTwoOfThem() throws URISyntaxException {
    assertEquals(Set.of(), split(modules()));
  }

  @Test
  void packagesInTwoModulesAreFound() {
    ModuleDescriptor one = ModuleDescriptor.newModule("one").packages(Set.of("a", "b.c")).build();
    ModuleDescriptor other = ModuleDescriptor.newModule("other").packages(Set.of("b", "b.c")).build();
    assertEquals(Set.of("b.c"), split(List.of(one, other)));
  }

  @Test
  void eachHasTheLicenceAndTheNotices() throws IOException, URISyntaxException {
    for (Path path : jars()) {
      try (JarFile jar = new JarFile(path.toFile())) {
        for (String file : List.of("LICENSE", "NOTICE", "THIRD-PARTY.md")) {
          try (InputStream in = jar.getInputStream(jar.getEntry("META-INF/" + file))) {
            String expected = Files.readString(DocumentationTest.REPOSITORY.resolve(file));
            assertEquals(expected, new String(in.readAllBytes(), StandardCharsets.UTF_8), path + ": " + file);
          }
        }
      }
    }
  }

  @Test
  void everyPublicPackageIsDescribed() throws IOException {
    List<String> missing = new ArrayList<>();
    for (String module : List.of("portllm-core", "portllm-io", "portllm-cli")) {
      try (Stream<Path> folders = Files.walk(DocumentationTest.REPOSITORY.resolve(module + "/src/main/java"))) {
        for (Path folder : folders.filter(Files::isDirectory).toList()) {
          try (Stream<Path> files = Files.list(folder)) {
            List<String> names = files.map(file -> file.getFileName().toString()).filter(name -> name.endsWith(".java")).toList();
            if (!names.isEmpty() && !names.contains("package-info.java")) {
              missing.add(folder.toString());
            }
          }
        }
      }
    }
    assertEquals(List.of(), missing);
  }
}
