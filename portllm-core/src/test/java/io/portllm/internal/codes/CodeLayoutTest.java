package io.portllm.internal.codes;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.portllm.Shape;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CodeLayoutTest {
  @ParameterizedTest
  @ValueSource(ints = {8, 4, 3, 2, 1})
  void aRunOfCodesIsWrittenAsOneAfterTheOther(int bits) {
    Random random = new Random(bits);
    for (int count : new int[] {0, 1, 7, 8, 9, 24, 31}) {
      CodeLayout layout = CodeLayout.of(Shape.of(1, 16 + count), bits, 0);
      int[] run = new int[count];
      for (int i = 0; i < count; i++) {
        int range = random.nextInt(layout.isOdd() ? layout.largest() + 1 : 2 * layout.largest() + 1);
        run[i] = layout.isOdd() ? 2 * range - layout.largest() : range - layout.largest();
      }
      byte[] together = new byte[3 + (int) layout.rowBytes()];
      layout.put(together, 3, 16, run, count);
      byte[] single = new byte[together.length];
      for (int i = 0; i < count; i++) {
        layout.put(single, 3, 16 + i, run[i]);
        assertEquals(run[i], layout.code(together, 3, 16 + i));
      }
      assertArrayEquals(single, together);
    }
  }
}
