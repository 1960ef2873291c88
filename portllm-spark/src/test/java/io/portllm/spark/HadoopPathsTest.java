package io.portllm.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Fingerprint;
import io.portllm.ModelVersion;
import io.portllm.Patch;
import io.portllm.SideFile;
import io.portllm.io.Checkpoints;
import io.portllm.io.MalformedModelException;
import io.portllm.io.WriteOptions;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.NonWritableChannelException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.ReadOnlyFileSystemException;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Models on Hadoop's file systems, read by the rest of the library. */
class HadoopPathsTest {
  @TempDir Path dir;

  private final Configuration configuration = new Configuration();
  private Path remote;

  @BeforeEach
  void configure() throws IOException {
    configuration.set("fs.store.impl", StoreFiles.class.getName());
    remote = HadoopPaths.of("store://" + dir, configuration);
  }

  @Test
  void modelsAreReadWhereTheyLie() throws IOException {
    Path here = Models.write(dir.resolve("base"), 0, 4, 3);
    Models.write(dir.resolve("tuned"), 1, 4, 1);
    try (ModelVersion local = Checkpoints.open(here);
        ModelVersion base = Checkpoints.open(remote.resolve("base"));
        ModelVersion tuned = Checkpoints.open(remote.resolve("tuned/model.safetensors"))) {
      assertEquals("store:" + here, base.name().replace("store://", "store:"));
      assertEquals(Fingerprint.of(local), Fingerprint.of(base));
      assertEquals(names(local), names(base));
      Checkpoints.write(Patch.from(tuned, base).applyTo(base), dir.resolve("out"), WriteOptions.defaults().withThreads(4));
      try (ModelVersion written = Checkpoints.open(dir.resolve("out"))) {
        assertEquals(Fingerprint.of(tuned).tensors().keySet(), Fingerprint.of(written).tensors().keySet());
      }
    }
  }

  private static List<String> names(ModelVersion model) {
    return model.sideFiles().stream().map(SideFile::name).toList();
  }

  @Test
  void aChangedFileIsNotReadOn() throws IOException {
    Path here = Models.write(dir.resolve("base"), 0, 1, 1);
    try (ModelVersion base = Checkpoints.open(remote.resolve("base"))) {
      Files.setLastModifiedTime(here.resolve("model.safetensors"), FileTime.fromMillis(1_000_000));
      IOException refusal = assertThrows(IOException.class, base::verifyUnchanged);
      assertTrue(refusal.getMessage().contains("model.safetensors] the file changed since it was opened"), refusal.getMessage());
    }
  }

  @Test
  void messagesNameTheFileWithItsFileSystem() throws IOException {
    Files.createDirectories(dir.resolve("empty"));
    MalformedModelException refusal = assertThrows(MalformedModelException.class, () -> Checkpoints.open(remote.resolve("empty")));
    assertTrue(refusal.getMessage().startsWith("[store://"), refusal.getMessage());
    assertThrows(NoSuchFileException.class, () -> Files.size(remote.resolve("gone")));
    assertThrows(NotDirectoryException.class, () -> {
      Files.write(dir.resolve("file"), new byte[1]);
      Files.newDirectoryStream(remote.resolve("file")).close();
    });
  }

  @Test
  void channelsReadByPositionAndNothingIsWritten() throws IOException {
    byte[] bytes = new byte[3_000_000];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (i * 31 >>> 8);
    }
    Files.write(dir.resolve("file"), bytes);
    Path file = remote.resolve("file");
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      assertEquals(bytes.length, channel.size());
      for (ByteBuffer buffer : new ByteBuffer[] {ByteBuffer.allocate(2_000_000), ByteBuffer.allocateDirect(2_000_000)}) {
        buffer.position(5);
        long position = 777;
        while (buffer.hasRemaining()) {
          position += channel.read(buffer, position);
        }
        for (int i = 5; i < buffer.limit(); i++) {
          assertEquals(bytes[777 + i - 5], buffer.get(i));
        }
      }
      assertEquals(-1, channel.read(ByteBuffer.allocate(1), bytes.length));
      channel.position(10);
      assertEquals(4, channel.read(ByteBuffer.allocate(4)));
      assertEquals(14, channel.position());
      assertThrows(NonWritableChannelException.class, () -> channel.write(ByteBuffer.allocate(1)));
    }
    assertEquals(bytes.length, Files.newInputStream(file).readAllBytes().length);
    assertThrows(ReadOnlyFileSystemException.class, () -> Files.delete(file));
    assertThrows(ReadOnlyFileSystemException.class, () -> FileChannel.open(file, StandardOpenOption.WRITE));
    assertTrue(Files.exists(file));
    assertFalse(Files.exists(remote.resolve("gone")));
  }

  @Test
  void localPathsAreOrdinaryOnes() throws IOException {
    for (String location : new String[] {dir.toString(), "file://" + dir, "file:" + dir}) {
      Path path = HadoopPaths.of(location, configuration);
      assertEquals(dir, path);
      assertEquals(FileSystems.getDefault(), path.getFileSystem());
    }
    assertThrows(IOException.class, () -> HadoopPaths.of("nowhere://x/y", configuration));
  }
}
