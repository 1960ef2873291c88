package io.portllm.spark.internal.job;

import io.portllm.IncompatibleModelException;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.api.java.function.Function;

/** Runs tasks by their numbers. */
final class Jobs {
  private Jobs() {}

  /**
   * What the tasks return, in their order.
   *
   * @param count how many tasks there are, each of which Spark runs until one of its attempts succeeds
   * @throws IncompatibleModelException if that is why a task failed; its list of mismatches did not travel, its message did
   * @throws IOException if that is why a task failed
   */
  static <T extends Serializable> List<T> run(JavaSparkContext context, int count, Function<Integer, byte[]> task, Class<T> type)
      throws IOException {
    List<byte[]> returned;
    try {
      List<Integer> numbers = IntStream.range(0, count).boxed().toList();
      returned = count == 0 ? List.of() : context.parallelize(numbers, count).map(task).collect();
    } catch (Exception e) {
      // Scala throws checked exceptions without saying so.
      throw cause(e);
    }
    List<T> results = new ArrayList<>();
    for (byte[] bytes : returned) {
      results.add(Wire.decode(bytes, type));
    }
    return results;
  }

  private static IOException cause(Exception failure) {
    for (Throwable at = failure; at != null; at = at.getCause()) {
      if (at instanceof IncompatibleModelException e) {
        throw e;
      }
      if (at instanceof IOException e) {
        return e;
      }
    }
    if (failure instanceof RuntimeException e) {
      throw e;
    }
    return new IOException("the Spark job failed: " + failure.getMessage(), failure);
  }
}
