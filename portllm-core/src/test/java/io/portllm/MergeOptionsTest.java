package io.portllm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class MergeOptionsTest {
  @Test
  void nothingIsAllowedUnlessNamed() {
    for (Allow allow : Allow.values()) {
      assertFalse(MergeOptions.defaults().allows(allow));
    }
    MergeOptions two = MergeOptions.defaults().allow(Allow.OVERFLOW).allow(Allow.MISSING_TENSORS);
    for (Allow allow : Allow.values()) {
      assertEquals(allow == Allow.OVERFLOW || allow == Allow.MISSING_TENSORS, two.allows(allow));
      assertFalse(MergeOptions.defaults().allows(allow), "options are immutable");
    }
  }

  @Test
  void anOptionMayBeNamedTwiceAndNoneAtAll() {
    assertTrue(MergeOptions.defaults().allow(Allow.OVERFLOW, Allow.OVERFLOW).allows(Allow.OVERFLOW));
    assertFalse(MergeOptions.defaults().allow().allows(Allow.OVERFLOW));
  }

  @Test
  void anotherMergerKeepsWhatIsAllowed() {
    Merger merger = (chunk, operands) -> Rounding.NONE;
    MergeOptions options = MergeOptions.defaults().allow(Allow.OVERFLOW).withMerger(merger);
    assertSame(merger, options.merger());
    assertSame(merger, options.allow(Allow.OTHER_DTYPES).merger());
    assertTrue(options.allows(Allow.OVERFLOW));
    assertSame(Merger.fastest(), MergeOptions.defaults().merger());
    assertThrows(NullPointerException.class, () -> MergeOptions.defaults().withMerger(null));
  }

  @Test
  void optionsAreSpelledInLowerCaseWithDashes() {
    assertEquals("other-vocabulary", Allow.OTHER_VOCABULARY.optionName());
  }

  @Test
  void countsOfRoundingAreAddedOneByOne() {
    Rounding sum = new Rounding(1, 20, 300, 4000).plus(new Rounding(5, 60, 700, 8000));
    assertEquals(new Rounding(6, 80, 1000, 12000), sum);
    assertEquals(sum, sum.plus(Rounding.NONE));
  }

  @Test
  void aMismatchNamesItsTensorAndWhatAllowsIt() {
    assertEquals(
        "tensor 'a\\u000ab': is gone (allowed by missing-tensors)", Mismatch.of("a\nb", "is gone", Allow.MISSING_TENSORS).toString());
    assertEquals("tensor 'x': is odd", Mismatch.of("x", "is odd").toString());
  }

  @Test
  void anIncompatibilityListsEveryMismatch() {
    List<Mismatch> two = List.of(Mismatch.of("x", "is odd"), Mismatch.of("y", "is even", Allow.OVERFLOW));
    IncompatibleModelException e = new IncompatibleModelException("it does not fit", two);
    assertEquals("it does not fit: tensor 'x': is odd; tensor 'y': is even (allowed by overflow)", e.getMessage());
    assertEquals(two, e.mismatches());
    assertEquals(Optional.of(Allow.OVERFLOW), e.mismatches().get(1).allowedBy());
  }
}
