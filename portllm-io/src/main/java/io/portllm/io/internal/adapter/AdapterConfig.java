package io.portllm.io.internal.adapter;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.google.common.collect.ImmutableList;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.adapter.kind.AdapterKind;
import io.portllm.io.internal.adapter.kind.AdapterKinds;
import io.portllm.io.internal.files.Paths;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/** The fields of {@code adapter_config.json} that decide which weights an adapter means. */
public final class AdapterConfig {
  /** Far above any configuration in use; a file that claims to be one and is larger is refused unread. */
  private static final int LONGEST = 16 << 20;

  /** LoRA variants that a plain product of two factors does not describe, by the field that switches them on. */
  private static final Map<String, String> VARIANTS =
      Map.of(
          "use_qalora", "QALoRA",
          "use_bdlora", "BD-LoRA",
          "kasa_config", "KaSA",
          "arrow_config", "Arrow",
          "alora_invocation_tokens", "aLoRA, which acts on part of the input only",
          "layer_replication", "layer replication");

  /** Initialisations that take the start of the factors out of the base's weights. */
  private static final Set<String> MUTATING = Set.of("pissa", "olora", "corda", "lora_ga");

  /** What does not matter to a change that depends on weights: other changes, and where the adapter comes from or goes to. */
  private static final Set<String> BESIDE_CHANGES =
      Set.of(
          "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "target_modules", "exclude_modules",
          "layers_to_transform", "layers_pattern", "modules_to_save", "bias", "lora_bias", "trainable_token_indices", "target_parameters");

  private static final Set<String> CLASSIFICATION = Set.of("SEQ_CLS", "TOKEN_CLS");
  private static final Set<String> CLASSIFIERS = Set.of("classifier", "score");

  private final Path file;
  private final JsonNode root;

  private AdapterConfig(Path file, JsonNode root) {
    this.file = file;
    this.root = root;
  }

  static AdapterConfig read(Path folder) throws IOException {
    Path file = folder.resolve("adapter_config.json");
    ObjectMapper mapper =
        new ObjectMapper(
                JsonFactory.builder()
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    // Python writes them; a number that has to be finite is checked where it is used.
                    .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
                    .build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);
    JsonNode root;
    try {
      Paths.regularFile(file);
      try (InputStream in = Files.newInputStream(file)) {
        byte[] text = in.readNBytes(LONGEST + 1);
        if (text.length > LONGEST) {
          throw new MalformedModelException(file, "AD-CONFIG", -1, "is longer than " + LONGEST + " bytes");
        }
        // Decoded here, because Jackson would take UTF-16 and UTF-32 too.
        root = mapper.readTree(StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text)).toString());
      }
    } catch (NoSuchFileException e) {
      throw new MalformedModelException(file, "AD-CONFIG", -1, "does not exist, so the folder is no PEFT adapter");
    } catch (CharacterCodingException e) {
      throw new MalformedModelException(file, "AD-CONFIG", -1, "is not UTF-8");
    } catch (JsonProcessingException e) {
      throw new MalformedModelException(file, "AD-CONFIG", -1, "is not JSON: " + Names.quote(e.getOriginalMessage()));
    }
    return of(file, root);
  }

  /** The configuration that {@code root}, found in {@code file}, says. */
  static AdapterConfig of(Path file, JsonNode root) throws MalformedModelException {
    if (!root.isObject()) {
      throw new MalformedModelException(file, "AD-CONFIG", -1, "is not a JSON object");
    }
    AdapterConfig config = new AdapterConfig(file, root);
    config.checkKind();
    return config;
  }

  /** The fields that changes which depend on weights are computed by, sorted by name. */
  public JsonNode ofChanges() {
    Map<String, JsonNode> fields = new TreeMap<>();
    root.properties().forEach(
        field -> {
          if (!BESIDE_CHANGES.contains(field.getKey()) && !field.getValue().isNull()) {
            fields.put(field.getKey(), field.getValue());
          }
        });
    return JsonNodeFactory.instance.objectNode().setAll(fields);
  }

  private void checkKind() throws MalformedModelException {
    JsonNode type = root.get("peft_type");
    if (type == null || !type.isTextual()) {
      throw malformed("AD-TYPE", "names no adapter kind: peft_type is " + (type == null ? "missing" : Names.quote(type.toString())));
    }
    String kind = type.textValue();
    if (AdapterKinds.reasonAgainst(kind).isPresent()) {
      throw malformed("AD-TYPE", "is an adapter of kind " + kind + ", which " + AdapterKinds.reasonAgainst(kind).get());
    }
    if (!kind.equals("LORA") && AdapterKinds.named(kind).isEmpty()) {
      throw malformed(
          "AD-TYPE", "is an adapter of kind " + Names.quote(kind) + "; only LORA, " + String.join(", ", AdapterKinds.names())
              + " are read");
    }
    if (!kind.endsWith("LORA")) {
      return;
    }
    for (Map.Entry<String, String> variant : VARIANTS.entrySet()) {
      if (isOn(root.get(variant.getKey()))) {
        throw malformed("AD-TYPE", "is an adapter of kind " + variant.getValue() + "; of LORA, only its plain form and DoRA are read");
      }
    }
    checkInitialisation();
  }

  /** What PEFT converts on saving says {@code true} here, and is a plain LoRA of twice the rank. */
  private void checkInitialisation() throws MalformedModelException {
    JsonNode init = root.get("init_lora_weights");
    String name = init == null ? "" : init.asText().toLowerCase(Locale.ROOT);
    if (MUTATING.stream().anyMatch(name::startsWith)) {
      throw malformed(
          "AD-TYPE",
          "was initialised by " + Names.quote(name)
              + ", which took weights out of the base, so that it fits no other: convert it to plain LoRA by "
              + "PEFT's save_pretrained(..., path_initial_model_for_weight_conversion=FOLDER), FOLDER being the adapter saved before its training");
    }
    if (name.startsWith("loftq")) {
      throw malformed(
          "AD-TYPE",
          "was initialised by " + Names.quote(name)
              + ", which corrects the rounding of one quantised base, and PEFT does not convert it to plain LoRA");
    }
  }

  /** The kind of the adapter, or nothing if it is LoRA, which {@link AdapterContents} reads itself. */
  Optional<AdapterKind> kind() {
    return AdapterKinds.named(root.get("peft_type").textValue());
  }

  private static boolean isOn(JsonNode value) {
    return value != null && !value.isNull() && (value.isBoolean() ? value.booleanValue() : !value.isContainerNode() || !value.isEmpty());
  }

  /** The rank that {@code module} should have: the first matching {@code rank_pattern}, or {@code r}. */
  public int rank(String module) throws MalformedModelException {
    return count("AD-RANK", "rank", "r", "rank_pattern", module);
  }

  /**
   * A whole number from 1 on that a module may have its own of.
   *
   * @param field the field that holds the number for all other modules
   * @param patterns the field that holds the numbers of modules, by pattern
   */
  public int count(String field, String patterns, String module) throws MalformedModelException {
    return count("AD-CONFIG", field, field, patterns, module);
  }

  /** A field that must hold a whole number from 1 on. */
  public int count(String field) throws MalformedModelException {
    return count("AD-CONFIG", field, root.get(field));
  }

  private int count(String rule, String name, String field, String patterns, String module) throws MalformedModelException {
    JsonNode value = pattern(patterns, module);
    if (value == null) {
      value = root.get(field);
    }
    return count(rule, name, value);
  }

  private int count(String rule, String name, JsonNode value) throws MalformedModelException {
    if (value == null || !value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
      throw malformed(rule, name + " must be a whole number >= 1 but is " + (value == null ? "missing" : Names.quote(value.toString())));
    }
    return value.intValue();
  }

  /** A field that must hold a finite number. */
  public double number(String field) throws MalformedModelException {
    return finite(field, root.get(field));
  }

  /**
   * A finite number that a module may have its own of.
   *
   * @param field the field that holds the number for all other modules
   * @param patterns the field that holds the numbers of modules, by pattern
   */
  public double number(String field, String patterns, String module) throws MalformedModelException {
    JsonNode value = pattern(patterns, module);
    return finite(field, value == null ? root.get(field) : value);
  }

  private double finite(String field, JsonNode value) throws MalformedModelException {
    if (value == null || !value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw malformed("AD-CONFIG", field + " must be a finite number but is " + (value == null ? "missing"
          : Names.quote(value.toString())));
    }
    return value.doubleValue();
  }

  /** A field that must hold a whole number, or {@code otherwise} where it is missing or null. */
  public long integer(String field, long otherwise) throws MalformedModelException {
    JsonNode value = root.get(field);
    if (value == null || value.isNull()) {
      return otherwise;
    }
    if (!value.isIntegralNumber() || !value.canConvertToLong()) {
      throw malformed("AD-CONFIG", field + " must be a whole number but is " + Names.quote(value.toString()));
    }
    return value.longValue();
  }

  /** The text of a field, or what JSON it holds if that is no text, or {@code otherwise} where it is missing or null. */
  public String text(String field, String otherwise) {
    JsonNode value = root.get(field);
    return value == null || value.isNull() ? otherwise : value.asText();
  }

  /** Whether a field holds a text. */
  public boolean isText(String field) {
    return root.path(field).isTextual();
  }

  /** The elements of a list of texts; nothing where it is missing, null or no list. */
  public List<String> texts(String field) {
    ImmutableList.Builder<String> texts = ImmutableList.builder();
    root.path(field).forEach(text -> texts.add(text.asText()));
    return texts.build();
  }

  /** What the product of the factors of {@code module} is multiplied by: alpha / r, or alpha / √r for rsLoRA. */
  public double scale(String module) throws MalformedModelException {
    JsonNode value = pattern("alpha_pattern", module);
    if (value == null) {
      value = root.get("lora_alpha");
    }
    if (value == null || !value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw malformed("AD-ALPHA", "lora_alpha must be a finite number but is "
          + (value == null ? "missing" : Names.quote(value.toString())));
    }
    int rank = rank(module);
    return value.doubleValue() / (flag("use_rslora") ? Math.sqrt(rank) : rank);
  }

  /** Whether weights are stored in x out. */
  public boolean fanInFanOut() throws MalformedModelException {
    return flag("fan_in_fan_out");
  }

  boolean loraBias() throws MalformedModelException {
    return flag("lora_bias");
  }

  /** {@code none}, {@code all} or {@code lora_only}. */
  String bias() throws MalformedModelException {
    JsonNode value = root.get("bias");
    String bias = value == null || value.isNull() ? "none" : value.asText();
    if (!Set.of("none", "all", "lora_only").contains(bias)) {
      throw malformed("AD-BIAS", "bias must be none, all or lora_only but is " + Names.quote(bias));
    }
    return bias;
  }

  /** The ends of the names of modules that are saved whole. */
  List<String> modulesToSave() throws MalformedModelException {
    JsonNode value = root.get("modules_to_save");
    if (value == null || value.isNull()) {
      return List.of();
    }
    if (!value.isArray()) {
      throw malformed("AD-SAVE", "modules_to_save must be a list but is " + Names.quote(value.toString()));
    }
    ImmutableList.Builder<String> names = ImmutableList.builder();
    for (JsonNode name : value) {
      if (!name.isTextual() || name.textValue().isEmpty()) {
        throw malformed("AD-SAVE", "modules_to_save must list names but has " + Names.quote(name.toString()));
      }
      names.add(name.textValue());
    }
    return names.build();
  }

  /** Whether PEFT put {@code module} into modules_to_save by itself: for a classifier it lists both names that the head may have. */
  boolean isListedByTask(String module) {
    return CLASSIFIERS.contains(module) && CLASSIFICATION.contains(root.path("task_type").asText());
  }

  /** The ends of the names of modules of which single rows are trained. */
  List<String> tokenModules() throws MalformedModelException {
    JsonNode value = root.get("trainable_token_indices");
    if (value == null || value.isNull()) {
      return List.of();
    }
    if (value.isArray()) {
      return value.isEmpty() ? List.of() : List.of("");
    }
    if (!value.isObject()) {
      throw malformed("AD-TOKENS", "trainable_token_indices must be a list or an object but is " + Names.quote(value.toString()));
    }
    return value.properties().stream().map(Map.Entry::getKey).toList();
  }

  /** The trained token rows of {@code module}, in the order of the stored rows. */
  List<Long> tokenIndices(String module) throws MalformedModelException {
    JsonNode value = root.get("trainable_token_indices");
    if (value != null && value.isObject()) {
      JsonNode found = null;
      for (Map.Entry<String, JsonNode> entry : value.properties()) {
        if (isModule(module, entry.getKey())) {
          found = entry.getValue();
        }
      }
      value = found;
    }
    if (value == null || !value.isArray()) {
      throw malformed("AD-TOKENS", "module " + Names.quote(module)
          + " has trained token rows, but trainable_token_indices does not list them");
    }
    Set<Long> indices = new LinkedHashSet<>();
    for (JsonNode index : value) {
      if (!index.isIntegralNumber() || !index.canConvertToInt() || index.intValue() < 0) {
        throw malformed("AD-TOKENS", "token index must be a whole number from 0 to 2^31 - 1 but is " + Names.quote(index.toString()));
      }
      if (!indices.add(index.longValue())) {
        throw malformed("AD-TOKENS", "token index " + index + " occurs twice in trainable_token_indices");
      }
    }
    return List.copyOf(indices);
  }

  /** Whether {@code name}, the end of a path or nothing at all, stands for {@code module}. */
  static boolean isModule(String module, String name) {
    return name.isEmpty() || module.equals(name) || module.endsWith("." + name);
  }

  /** A field that is true or false; false where it is missing or null. */
  public boolean flag(String name) throws MalformedModelException {
    JsonNode value = root.get(name);
    if (value == null || value.isNull()) {
      return false;
    }
    if (!value.isBoolean()) {
      throw malformed("AD-CONFIG", name + " must be true or false but is " + Names.quote(value.toString()));
    }
    return value.booleanValue();
  }

  private JsonNode pattern(String field, String module) throws MalformedModelException {
    JsonNode patterns = root.get(field);
    if (patterns == null || patterns.isNull()) {
      return null;
    }
    if (!patterns.isObject()) {
      throw malformed("AD-PATTERN", field + " must be an object but is " + Names.quote(patterns.toString()));
    }
    for (Map.Entry<String, JsonNode> entry : patterns.properties()) {
      try {
        if (ModulePattern.matches(entry.getKey(), module)) {
          return entry.getValue();
        }
      } catch (IllegalArgumentException e) {
        throw malformed("AD-PATTERN", field + " has the pattern " + Names.quote(entry.getKey()) + ", which " + e.getMessage());
      }
    }
    return null;
  }

  /** An error in the configuration. */
  public MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }
}
