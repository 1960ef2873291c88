package io.portllm.io.patchfile;

import io.portllm.ModelVersion;
import io.portllm.Shard;
import io.portllm.io.Checkpoints;
import io.portllm.io.internal.safetensors.SafetensorsHeader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** Patch files without the digests that tell of damage, to be altered on purpose. */
public final class Unsealed {
  private Unsealed() {}

  /** The metadata without its seal. */
  public static Map<String, String> metadata(Map<String, String> sealed) {
    Map<String, String> metadata = new TreeMap<>(sealed);
    metadata.remove("portllm.digest");
    metadata.remove("portllm.digests");
    return metadata;
  }

  /** The bytes of the file that the writer would make without a seal. */
  public static byte[] bytes(Path file) throws IOException {
    byte[] sealed = Files.readAllBytes(file);
    int header = (int) ByteBuffer.wrap(sealed).order(ByteOrder.LITTLE_ENDIAN).getLong(0);
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ModelVersion tensors = Checkpoints.open(file)) {
      Shard shard = tensors.shards().get(0);
      bytes.writeBytes(SafetensorsHeader.encode(shard.tensors(), metadata(shard.metadata())));
    }
    bytes.write(sealed, 8 + header, sealed.length - 8 - header);
    return bytes.toByteArray();
  }
}
