package io.portllm.io.internal.patchfile;

import com.fasterxml.jackson.databind.JsonNode;
import io.portllm.Delta;
import io.portllm.IncompatibleModelException;
import io.portllm.Shape;
import io.portllm.Tensor;
import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.adapter.AdapterChange;
import io.portllm.io.internal.adapter.StoredAdapter;
import io.portllm.io.internal.files.StoredModel;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Makes the changes again that a patch file's adapters make to whichever weights they are put on. */
final class AdapterTerms {
  private final Path file;
  private final StoredModel tensors;
  private final Set<String> used;
  private final List<StoredAdapter> adapters = new ArrayList<>();
  private final List<Map<String, Delta>> changes = new ArrayList<>();

  /** A term as it is told of. */
  record Term(String tensor, Shape shape, int adapter, String module, Shape weight, List<String> parts) {}

  /** A term as the metadata tell of it. */
  static Term term(PatchFields fields, String tensor, JsonNode term, Shape shape) throws IOException {
    int number = (int) Math.min(fields.whole(tensor, term, "adapter"), Integer.MAX_VALUE);
    List<String> parts = new ArrayList<>();
    for (JsonNode part : term.path("parts")) {
      parts.add(part.asText());
    }
    return new Term(tensor, shape, number, term.path("module").asText(), fields.shape(tensor, term.get("weight")), parts);
  }

  private AdapterTerms(Path file, StoredModel tensors, Set<String> used) {
    this.file = file;
    this.tensors = tensors;
    this.used = used;
  }

  /**
   * The changes of all terms. All changes of an adapter are made together, since they share what they compute.
   *
   * @param configs the adapters' configurations
   * @param used receives the names of the tensors that belong to a term
   */
  static AdapterTerms read(Path file, StoredModel tensors, JsonNode configs, List<Term> terms, Set<String> used) throws IOException {
    AdapterTerms read = new AdapterTerms(file, tensors, used);
    for (JsonNode config : configs) {
      read.adapters.add(new StoredAdapter(file, config));
    }
    for (Term term : terms) {
      read.add(term);
    }
    for (int i = 0; i < read.adapters.size(); i++) {
      read.changes.add(read.changesOf(i));
    }
    return read;
  }

  private void add(Term term) throws IOException {
    if (term.adapter() >= adapters.size()) {
      throw malformed(
          "tensor " + Names.quote(term.tensor()) + " is changed by adapter " + term.adapter() + ", but there are " + adapters.size());
    }
    StoredAdapter adapter = adapters.get(term.adapter());
    if (!term.tensor().equals(term.module() + ".weight") && !term.tensor().equals(term.module() + ".bias")) {
      throw malformed("tensor " + Names.quote(term.tensor()) + " is neither weight nor bias of the module " + Names.quote(term.module()));
    }
    adapter.putShape(term.module() + ".weight", term.weight());
    adapter.putShape(term.tensor(), term.shape());
    for (String part : term.parts()) {
      String name = PatchKeys.adapterPart(term.adapter(), term.module(), part);
      used.add(name);
      Optional<Tensor> stored = tensors.tensor(name);
      if (stored.isEmpty()) {
        throw new MalformedModelException(file, "PF-TENSORS", -1, "tensor " + Names.quote(name) + " is missing");
      }
      adapter.put(term.module(), part, stored.get());
    }
  }

  private Map<String, Delta> changesOf(int adapter) throws IOException {
    try {
      return adapters.get(adapter).changes();
    } catch (IncompatibleModelException e) {
      throw malformed("adapter " + adapter + " does not fit the shapes of its weights: " + e.mismatches().get(0));
    }
  }

  /** The change of a term. */
  Delta change(Term term) throws IOException {
    Delta change = changes.get(term.adapter()).get(term.tensor());
    if (!(change instanceof Delta.Computed computed) || !(computed.change() instanceof AdapterChange)) {
      throw malformed(
          "tensor " + Names.quote(term.tensor()) + " is not changed by adapter " + term.adapter() + " depending on its weights");
    }
    if (!change.shape().equals(term.shape())) {
      throw malformed(
          "tensor " + Names.quote(term.tensor()) + " is said to be " + term.shape() + ", but adapter " + term.adapter() + " changes "
              + change.shape());
    }
    return change;
  }

  private MalformedModelException malformed(String message) {
    return new MalformedModelException(file, "PF-ADAPTER", -1, message);
  }
}
