package io.portllm.io.internal.adapter.kind;

import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.adapter.AdapterConfig;
import java.nio.file.Path;
import java.util.Collections;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/** The tensors of an adapter that belong to its kind, by module, and its configuration. */
public final class AdapterTensors {
  private final Path file;
  private final AdapterConfig config;
  private final SortedMap<String, Module> modules = new TreeMap<>();
  private final Map<String, Tensor> shared = new TreeMap<>();

  /**
   * No tensors yet.
   *
   * @param file the weight file, for messages
   */
  public AdapterTensors(Path file, AdapterConfig config) {
    this.file = file;
    this.config = config;
  }

  /**
   * Takes in a tensor of a module.
   *
   * @throws MalformedModelException if another name stands for the same
   */
  public void put(String module, String part, Tensor tensor) throws MalformedModelException {
    requireFirst(modules.computeIfAbsent(module, Module::new).parts.put(part, tensor), tensor);
  }

  /**
   * Takes in a tensor that all modules share.
   *
   * @throws MalformedModelException if another name stands for the same
   */
  public void putShared(String part, Tensor tensor) throws MalformedModelException {
    requireFirst(shared.put(part, tensor), tensor);
  }

  private void requireFirst(Tensor before, Tensor tensor) throws MalformedModelException {
    if (before != null) {
      throw malformed("AD-TARGET", "tensor " + Names.quote(tensor.info().name()) + " names a part that another name stands for too");
    }
  }

  /** The configuration. */
  public AdapterConfig config() {
    return config;
  }

  /** The modules, by their path in the model, sorted. */
  public SortedMap<String, Module> modules() {
    return Collections.unmodifiableSortedMap(modules);
  }

  /** A tensor that all modules share. */
  public Optional<Tensor> shared(String part) {
    return Optional.ofNullable(shared.get(part));
  }

  /** An error in the weight file. */
  public MalformedModelException malformed(String rule, String message) {
    return new MalformedModelException(file, rule, -1, message);
  }

  /** The tensors of one module. */
  public final class Module {
    private final String path;
    private final Map<String, Tensor> parts = new TreeMap<>();

    private Module(String path) {
      this.path = path;
    }

    /** The module's path in the model, such as {@code model.layers.0.self_attn.q_proj}. */
    public String path() {
      return path;
    }

    /** The name of the module's weight. */
    public String weight() {
      return path + ".weight";
    }

    /** All parts of the module, by name. */
    public Map<String, Tensor> parts() {
      return Collections.unmodifiableMap(parts);
    }

    /** Whether the module has this part. */
    public boolean has(String part) {
      return parts.containsKey(part);
    }

    /** The tensor of this part, if the module has it. */
    public Optional<Tensor> find(String part) {
      return Optional.ofNullable(parts.get(part));
    }

    /**
     * The tensor of this part.
     *
     * @throws MalformedModelException if the module lacks it
     */
    public Tensor get(String part) throws MalformedModelException {
      Tensor tensor = parts.get(part);
      if (tensor == null) {
        throw malformed("AD-PAIR", "module " + Names.quote(path) + " has " + parts.keySet().iterator().next() + " but no " + part);
      }
      return tensor;
    }

    /**
     * The tensor of this part, of this shape.
     *
     * @throws MalformedModelException if the module lacks it, or it has another shape
     */
    public Tensor get(String part, long... dimensions) throws MalformedModelException {
      Tensor tensor = get(part);
      Shape needed = Shape.of(dimensions);
      if (!tensor.info().shape().equals(needed)) {
        throw shape(part + " must be " + needed + " but is " + tensor.info().shape());
      }
      return tensor;
    }

    /**
     * The tensor of this part, a matrix that is not empty.
     *
     * @throws MalformedModelException if the module lacks it, or it is something else
     */
    public Tensor matrix(String part) throws MalformedModelException {
      return filled(part, 2, "a matrix");
    }

    /**
     * The tensor of this part, a matrix of so many rows.
     *
     * @throws MalformedModelException if the module lacks it, or it is something else
     */
    public Tensor matrixOfRows(String part, long rows) throws MalformedModelException {
      return get(part, rows, matrix(part).info().shape().columns());
    }

    /**
     * The tensor of this part, a matrix of so many columns.
     *
     * @throws MalformedModelException if the module lacks it, or it is something else
     */
    public Tensor matrixOfColumns(String part, long columns) throws MalformedModelException {
      return get(part, matrix(part).info().shape().rows(), columns);
    }

    /**
     * The tensor of this part, a vector that is not empty.
     *
     * @throws MalformedModelException if the module lacks it, or it is something else
     */
    public Tensor vector(String part) throws MalformedModelException {
      return filled(part, 1, "a vector");
    }

    private Tensor filled(String part, int rank, String what) throws MalformedModelException {
      Tensor tensor = get(part);
      if (tensor.info().shape().rank() != rank || tensor.info().shape().elements() == 0) {
        throw shape(part + " must be " + what + " but is " + tensor.info().shape());
      }
      return tensor;
    }

    /** An error in the shapes of this module's tensors; {@code message} is the end of a sentence. */
    public MalformedModelException shape(String message) {
      return malformed("AD-SHAPE", "module " + Names.quote(path) + ": " + message);
    }
  }
}
