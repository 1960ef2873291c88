package io.portllm.io.internal.record;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.common.hash.Hasher;
import com.google.common.hash.Hashing;
import com.google.common.io.BaseEncoding;
import io.portllm.Fingerprint;
import io.portllm.TensorInfo;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What a record says of an output.
 *
 * @param origin how it came to be: {@code portllm}, {@code onto}, {@code patches} and {@code inputs}
 * @param fingerprint the digest of the model
 * @param tensors each tensor's type, shape and digest, as in a patch file's {@code portllm.base.tensors}
 * @param files the SHA-256 of each file, by its path below the output with {@code /} between parts, in the order of the parts
 */
public record OutputRecord(ObjectNode origin, String fingerprint, SortedMap<String, Entry> tensors, SortedMap<String, String> files) {
  /** What the record of a folder is called; that of a file ends in a dot and this. */
  public static final String NAME = "portllm.json";

  /** What the journal of a folder that is not finished is called; it is deleted before the folder is put in place. */
  public static final String JOURNAL = ".portllm.journal";

  private static final String FORMAT = "portllm.record";
  private static final int VERSION = 1;

  /** The most bytes of a record: some 100,000 tensors. */
  private static final int MOST_BYTES = 16 << 20;

  /**
   * Paths as model signing orders them: part by part, each by its code points, so that {@code a/b} comes before {@code a.b} although the dot
   * is less than the slash.
   */
  private static final Comparator<String> BY_PARTS =
      Comparator.comparing(
          path -> Arrays.stream(path.split("/")).map(part -> part.codePoints().toArray()).toArray(int[][]::new),
          (one, other) -> Arrays.compare(one, other, Arrays::compare));

  private static final String STATEMENT = "https://in-toto.io/Statement/v1";
  private static final String PREDICATE = "https://model_signing/signature/v1.0";

  /** A tensor as it was written. */
  public record Entry(String dtype, String shape, String digest) {
    /** A tensor of this digest. */
    public static Entry of(TensorInfo tensor, String digest) {
      return new Entry(tensor.dtype().name(), tensor.shape().toString(), digest);
    }
  }

  /** Where the record of an output is. */
  public static Path of(Path output) {
    return Files.isDirectory(output) ? output.resolve(NAME) : output.resolveSibling(output.getFileName() + "." + NAME);
  }

  /** Whether a file of this name is a record, which is no part of a model. */
  public static boolean isRecord(String name) {
    return name.equals(NAME) || name.endsWith("." + NAME);
  }

  /** The record of tensors and files. */
  public static OutputRecord of(ObjectNode origin, Collection<TensorInfo> tensors, Map<String, String> digests, Map<String, String> files) {
    TreeMap<String, Entry> entries = new TreeMap<>();
    tensors.forEach(tensor -> entries.put(tensor.name(), Entry.of(tensor, digests.get(tensor.name()))));
    return new OutputRecord(origin, Fingerprint.of(digests).digest(), entries, sorted(files));
  }

  private static SortedMap<String, String> sorted(Map<String, String> files) {
    SortedMap<String, String> sorted = new TreeMap<>(BY_PARTS);
    sorted.putAll(files);
    return sorted;
  }

  /** The record as a file, the same bytes for equal records. */
  public byte[] encode(String name) throws IOException {
    ObjectMapper json = new ObjectMapper();
    ObjectNode root = json.createObjectNode();
    root.put("format", FORMAT).put("version", VERSION);
    root.setAll(origin);
    ObjectNode model = root.putObject("model").put("fingerprint", fingerprint);
    ObjectNode list = model.putObject("tensors");
    tensors.forEach((tensor, entry) -> list.putArray(tensor).add(entry.dtype()).add(entry.shape()).add(entry.digest()));
    ObjectNode statement = root.putObject("statement").put("_type", STATEMENT);
    statement.putArray("subject").addObject().put("name", name).putObject("digest").put("sha256", rootDigest(files));
    statement.put("predicateType", PREDICATE);
    ObjectNode predicate = statement.putObject("predicate");
    ObjectNode how = predicate.putObject("serialization").put("method", "files").put("hash_type", "sha256").put("allow_symlinks", false);
    how.putArray("ignore_paths").add(NAME);
    ArrayNode resources = predicate.putArray("resources");
    files.forEach((file, digest) -> resources.addObject().put("name", file).put("algorithm", "sha256").put("digest", digest));
    // The system's ends of lines would make the bytes depend on it.
    DefaultPrettyPrinter printer = new DefaultPrettyPrinter().withObjectIndenter(new DefaultIndenter("  ", "\n"));
    return (json.writer(printer).writeValueAsString(root) + "\n").getBytes(StandardCharsets.UTF_8);
  }

  /** The SHA-256 of the digests of all files, in their order. */
  private static String rootDigest(Map<String, String> files) {
    Hasher hasher = Hashing.sha256().newHasher();
    files.values().forEach(digest -> hasher.putBytes(BaseEncoding.base16().lowerCase().decode(digest)));
    return hasher.hash().toString();
  }

  /**
   * Reads a record.
   *
   * @throws MalformedModelException if it is none, or says things that contradict each other
   */
  public static OutputRecord read(Path file) throws IOException {
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MOST_BYTES + 1);
    }
    if (bytes.length > MOST_BYTES) {
      throw malformed(file, "RC-SIZE", "a record has at most " + MOST_BYTES + " bytes");
    }
    JsonNode root = parse(file, bytes);
    if (!FORMAT.equals(root.path("format").textValue()) || root.path("version").intValue() != VERSION) {
      throw malformed(file, "RC-FORMAT", "is no record of version " + VERSION + ": it lacks format = " + FORMAT);
    }
    SortedMap<String, Entry> tensors = new TreeMap<>();
    Map<String, String> digests = new TreeMap<>();
    for (Map.Entry<String, JsonNode> entry : root.path("model").path("tensors").properties()) {
      JsonNode node = entry.getValue();
      String digest = digest(file, "tensor " + Names.quote(entry.getKey()), node.path(2));
      tensors.put(entry.getKey(), new Entry(node.path(0).asText(), node.path(1).asText(), digest));
      digests.put(entry.getKey(), digest);
    }
    Map<String, String> files = new LinkedHashMap<>();
    for (JsonNode node : root.path("statement").path("predicate").path("resources")) {
      String name = node.path("name").asText();
      if (files.put(name, digest(file, "file " + Names.quote(name), node.path("digest"))) != null) {
        throw malformed(file, "RC-DUP", "lists the file " + Names.quote(name) + " twice");
      }
    }
    String fingerprint = digest(file, "the model", root.path("model").path("fingerprint"));
    String subject = digest(file, "the list of files", root.path("statement").path("subject").path(0).path("digest").path("sha256"));
    if (!fingerprint.equals(Fingerprint.of(digests).digest())) {
      throw malformed(file, "RC-DIGEST", "was altered: its tensors do not make its fingerprint");
    }
    if (!subject.equals(rootDigest(files))) {
      throw malformed(file, "RC-DIGEST", "was altered: its files do not make the digest of its subject");
    }
    ObjectNode origin = new ObjectMapper().createObjectNode();
    root.properties().stream()
        .filter(entry -> !Set.of("format", "version", "model", "statement").contains(entry.getKey()))
        .forEach(entry -> origin.set(entry.getKey(), entry.getValue()));
    return new OutputRecord(origin, fingerprint, tensors, sorted(files));
  }

  private static JsonNode parse(Path file, byte[] bytes) throws IOException {
    StreamReadConstraints constraints =
        StreamReadConstraints.builder().maxNestingDepth(16).maxNameLength(MOST_BYTES).maxStringLength(MOST_BYTES).build();
    ObjectMapper mapper =
        new ObjectMapper(
                JsonFactory.builder().streamReadConstraints(constraints).enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    try {
      return mapper.readTree(bytes);
    } catch (JsonProcessingException e) {
      throw malformed(file, "RC-JSON", "is not JSON: " + Names.quote(e.getOriginalMessage()));
    }
  }

  private static String digest(Path file, String of, JsonNode node) throws IOException {
    String text = node.asText();
    if (!text.matches("[0-9a-f]{64}")) {
      throw malformed(file, "RC-FIELDS", of + " needs a digest of 64 lower-case hexadecimal digits but has " + Names.quote(text));
    }
    return text;
  }

  private static MalformedModelException malformed(Path file, String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
