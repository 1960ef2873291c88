package io.portllm.nd4j;

import io.portllm.internal.text.Names;
import java.util.LinkedHashMap;
import java.util.Map;
import org.nd4j.linalg.api.concurrency.AffinityManager.Location;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.executioner.OpExecutioner.ExecutionerType;
import org.nd4j.linalg.factory.Nd4j;

/**
 * Arrays of ND4J's CUDA backend in the memory of the GPU, for patches to be put on them in place.
 *
 * <p>{@snippet :
 * Map<String, INDArray> arrays = Map.of("wte.weight", baseWeights);
 * ModelVersion network = Nd4jModel.of("network", arrays);
 * try (ResidentModel model = ResidentModel.over(network, Nd4jDevice.addresses(arrays), Originals.KEPT)) {
 *   model.apply(patch, MergeOptions.defaults());
 *   Nd4jDevice.changed(arrays); // which have the patch on now
 *   model.undo();
 *   Nd4jDevice.changed(arrays);
 * }
 * }
 */
public final class Nd4jDevice {
  private Nd4jDevice() {}

  /**
   * Where arrays lie in GPU memory, brought up to date from host memory where that is newer. Waits for operations that still run on them.
   *
   * @param arrays whole arrays in C order, not views; good for as long as they are open
   * @throws IllegalArgumentException if an array is a view or in another order
   * @throws IllegalStateException if no ND4J backend is on the class path, or it keeps arrays in host memory
   */
  public static Map<String, Long> addresses(Map<String, INDArray> arrays) {
    Nd4jBackend.require();
    if (Nd4j.getExecutioner().type() != ExecutionerType.CUDA) {
      throw new IllegalStateException("the ND4J backend " + Nd4j.getBackend().getClass().getSimpleName() + " keeps arrays in host memory");
    }
    Nd4j.getExecutioner().commit();
    Map<String, Long> addresses = new LinkedHashMap<>();
    arrays.forEach((name, array) -> {
      if (array.isView() || array.ordering() != 'c' && array.rank() > 1) {
        throw new IllegalArgumentException(
            "tensor " + Names.quote(name) + ": the array must be a whole one in C order but is "
                + (array.isView() ? "a view" : "in order " + array.ordering()) + "; dup('c') copies it");
      }
      Nd4j.getAffinityManager().ensureLocation(array, Location.DEVICE);
      addresses.put(name, array.isEmpty() ? 0 : array.data().platformAddress());
    });
    return addresses;
  }

  /** Tells ND4J that the arrays were changed in GPU memory, so that what it has of them in host memory is out of date. */
  public static void changed(Map<String, INDArray> arrays) {
    arrays.values().forEach(array -> Nd4j.getAffinityManager().tagLocation(array, Location.DEVICE));
  }
}
