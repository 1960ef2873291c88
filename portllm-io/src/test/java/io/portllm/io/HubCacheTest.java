package io.portllm.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.common.jimfs.Configuration;
import com.google.common.jimfs.Jimfs;
import io.portllm.DType;
import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.io.write.TestModel;
import io.portllm.io.write.Trio;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.FileSystem;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Models by name and revision in a cache as {@code huggingface_hub} lays it out. */
class HubCacheTest {
  private static final String COMMIT = "5d853ed7d16ac794afa8f5c9c7f59f4e9c950954";

  private final FileSystem memory = Jimfs.newFileSystem(Configuration.unix());
  private final Path cache = memory.getPath("/cache");
  private final Path repository = cache.resolve("models--acme--clinic-8b");
  private final TestModel model = Trio.of(DType.BF16).base();

  @BeforeEach
  void downloadTheModel() throws IOException {
    Path downloaded = model.saveTo(memory.getPath("/downloaded"));
    Path blobs = Files.createDirectories(repository.resolve("blobs"));
    Path snapshot = Files.createDirectories(repository.resolve("snapshots").resolve(COMMIT));
    try (var files = Files.list(downloaded)) {
      for (Path file : files.toList()) {
        String blob = "b" + file.getFileName().toString().length();
        Files.copy(file, blobs.resolve(blob));
        Files.createSymbolicLink(snapshot.resolve(file.getFileName().toString()), memory.getPath("../../blobs", blob));
      }
    }
    Files.createDirectories(repository.resolve("refs/refs/pr"));
    Files.writeString(repository.resolve("refs/main"), COMMIT);
    Files.writeString(repository.resolve("refs/refs/pr/1"), COMMIT + "\n");
    Files.writeString(repository.resolve("refs/v2"), "0000000000000000000000000000000000000000");
  }

  @AfterEach
  void close() throws IOException {
    memory.close();
  }

  @Test
  void aBranchATagACommitAndAPullRequestLeadToTheSnapshot() throws IOException {
    for (String revision : List.of("main", COMMIT, "refs/pr/1")) {
      Path found = HubCache.find(cache, "acme/clinic-8b", revision);
      assertEquals(repository.resolve("snapshots").resolve(COMMIT), found);
      try (ModelVersion opened = Checkpoints.open(found)) {
        assertEquals(Fingerprint.of(model), Fingerprint.of(opened));
        assertEquals(List.of("config.json", "tokenizer.json"), opened.sideFiles().stream().map(file -> file.name()).toList());
      }
    }
  }

  @Test
  void messagesSayWhatWasLookedForAndWhatIsThere() {
    assertMissing("[/other] does not hold 'acme/x' at revision 'main': there is no such folder (HF_HUB_CACHE or HF_HOME in the environment "
        + "name another)", memory.getPath("/other"), "acme/x", "main");
    assertMissing("[/cache] does not hold 'acme/x' at revision 'main': expected the folder 'models--acme--x'", cache, "acme/x", "main");
    assertMissing("[/cache] does not hold 'gpt2' at revision 'main': expected the folder 'models--gpt2'", cache, "gpt2", "main");
    String held = "it holds 'main', 'refs', 'v2', '" + COMMIT + "'";
    String start = "[/cache/models--acme--clinic-8b] does not hold 'acme/clinic-8b' at revision ";
    assertMissing(start + "'v3': " + held, cache, "acme/clinic-8b", "v3");
    assertMissing(start + "'v2': the revision is commit "
        + "'0000000000000000000000000000000000000000', of which nothing was downloaded; " + held, cache, "acme/clinic-8b", "v2");
  }

  private static void assertMissing(String message, Path cache, String name, String revision) {
    assertEquals(message, assertThrows(FileNotFoundException.class, () -> HubCache.find(cache, name, revision)).getMessage());
  }

  @Test
  void namesAndRevisionsCannotLeadOutOfTheCache() throws IOException {
    for (String name : List.of("", "a/b/c", "../secret", "a/..", "/etc", "a\\b", "a--b", "a b", "a/")) {
      assertThrows(IllegalArgumentException.class, () -> HubCache.find(cache, name, "main"), name);
    }
    for (String revision : List.of("", "..", "../../x", "/etc", "a\\b", "a//b", "C:x", "a/../b", "a\nb")) {
      assertThrows(IllegalArgumentException.class, () -> HubCache.find(cache, "acme/clinic-8b", revision), revision);
    }
    Files.writeString(repository.resolve("refs/evil"), "../../../downloaded");
    assertThrows(FileNotFoundException.class, () -> HubCache.find(cache, "acme/clinic-8b", "evil"));
    Files.writeString(repository.resolve("refs/long"), "0".repeat(10_000));
    assertEquals(
        "[/cache/models--acme--clinic-8b/refs/long] should hold a commit but has 10000 bytes",
        assertThrows(IOException.class, () -> HubCache.find(cache, "acme/clinic-8b", "long")).getMessage());
  }

  @Test
  void theEnvironmentSaysWhereTheCacheIs() {
    Path home = memory.getPath("/somebody");
    assertLocation("/somebody/.cache/huggingface/hub", Map.of(), home);
    assertLocation("/x/huggingface/hub", Map.of("XDG_CACHE_HOME", "/x"), home);
    assertLocation("/hf/hub", Map.of("XDG_CACHE_HOME", "/x", "HF_HOME", "/hf"), home);
    assertLocation("/old", Map.of("HF_HOME", "/hf", "HUGGINGFACE_HUB_CACHE", "/old"), home);
    assertLocation("/somebody/models", Map.of("HF_HOME", "/hf", "HUGGINGFACE_HUB_CACHE", "/old", "HF_HUB_CACHE", "~/models"), home);
    assertLocation("/hf/hub", Map.of("HF_HOME", "/hf", "HF_HUB_CACHE", ""), home);
  }

  private static void assertLocation(String expected, Map<String, String> environment, Path home) {
    assertEquals(home.getFileSystem().getPath(expected), HubCache.location(environment::get, home));
  }
}
