package io.portllm.io.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.domain.JavaType;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import io.portllm.internal.text.Names;
import io.portllm.io.Checkpoints;
import java.io.File;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.ndarray.INDArray;

/**
 * What this module's classes may use and show. Each rule holds for them, and is shown to fail for a class at the end of this file
 * that breaks it. Those that expose something are public, and so must this one be.
 */
public class ArchitectureTest {
  private static final JavaClasses IO = new ClassFileImporter()
      .importUrl(Checkpoints.class.getProtectionDomain().getCodeSource().getLocation());

  @Test
  void publicSignaturesExposeNeitherInternalsNorJackson() {
    ArchRule rule = classes().that(canBeSeenFromOutside())
        .should(notExpose(resideInAnyPackage("..internal..", "com.fasterxml..")));
    holdsButNotFor(
        rule,
        ExposesParameter.class,
        ExposesResult.class,
        ExposesField.class,
        ExposesSupertype.class,
        ExposesTypeArgument.class,
        ExposesException.class);
    assertFalse(isBroken(rule, ExposesNothing.class));
  }

  @Test
  void nothingKnowsNd4j() {
    holdsButNotFor(
        noClasses().should().dependOnClassesThat().resideInAnyPackage("org.nd4j..", "org.bytedeco..", "io.portllm.nd4j.."),
        KnowsNd4j.class);
  }

  @Test
  void nothingLeavesPathsForFiles() {
    // Paths of other file systems, such as one in memory, have no File.
    holdsButNotFor(noClasses().should().callMethod(Path.class, "toFile"), CallsToFile.class);
    holdsButNotFor(noClasses().should().dependOnClassesThat().areAssignableTo(File.class), UsesFile.class);
  }

  @Test
  void nothingExitsOrPrints() {
    holdsButNotFor(noClasses().should().callMethod(System.class, "exit", int.class), Exits.class);
    holdsButNotFor(
        noClasses().should().accessField(System.class, "out").orShould().accessField(System.class, "err"),
        PrintsToOut.class,
        PrintsToErr.class);
  }

  private static DescribedPredicate<JavaClass> canBeSeenFromOutside() {
    return resideOutsideOfPackage("..internal..").and(describe("are public, and so is every class around them", type -> {
      Optional<JavaClass> at = Optional.of(type);
      while (at.isPresent()) {
        if (!at.get().getModifiers().contains(JavaModifier.PUBLIC)) {
          return false;
        }
        at = at.get().getEnclosingClass();
      }
      return true;
    }));
  }

  private static ArchCondition<JavaClass> notExpose(DescribedPredicate<JavaClass> hidden) {
    return new ArchCondition<>("not expose classes that " + hidden.getDescription()) {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        for (JavaClass exposed : exposedBy(type)) {
          if (hidden.test(exposed)) {
            events.add(SimpleConditionEvent.violated(type, type.getName() + " exposes " + exposed.getName()));
          }
        }
      }
    };
  }

  /** Every class named in what users of {@code type} see: supertypes, and the members that are public or protected. */
  private static List<JavaClass> exposedBy(JavaClass type) {
    List<JavaType> types = new ArrayList<>(type.getInterfaces());
    type.getSuperclass().ifPresent(types::add);
    for (JavaMember member : type.getMembers()) {
      if (!member.getModifiers().contains(JavaModifier.PUBLIC) && !member.getModifiers().contains(JavaModifier.PROTECTED)) {
        continue;
      }
      if (member instanceof JavaField field) {
        types.add(field.getType());
      } else if (member instanceof JavaCodeUnit code) {
        types.add(code.getReturnType());
        types.addAll(code.getParameterTypes());
        types.addAll(code.getExceptionTypes());
      }
    }
    return types.stream().flatMap(exposed -> exposed.getAllInvolvedRawTypes().stream()).toList();
  }

  private static void holdsButNotFor(ArchRule rule, Class<?>... breaking) {
    rule.check(IO);
    for (Class<?> type : breaking) {
      assertTrue(isBroken(rule, type), type.getSimpleName());
    }
  }

  private static boolean isBroken(ArchRule rule, Class<?> type) {
    return rule.evaluate(new ClassFileImporter().importClasses(type)).hasViolation();
  }

  public interface ExposesParameter {
    void use(JsonNode node);
  }

  public interface ExposesResult {
    Names names();
  }

  public abstract static class ExposesField {
    protected Names names;
  }

  public interface ExposesSupertype extends Supplier<JsonNode> {}

  public interface ExposesTypeArgument {
    List<? extends Optional<Names[]>> names();
  }

  public interface ExposesException {
    void parse() throws JsonProcessingException;
  }

  public static final class ExposesNothing {
    private final JsonNode node = null;

    JsonNode node() throws IOException {
      return node;
    }
  }

  static final class KnowsNd4j {
    private INDArray array;
  }

  static final class CallsToFile {
    Object of(Path path) {
      return path.toFile();
    }
  }

  static final class UsesFile {
    private File file;
  }

  static final class Exits {
    void exit() {
      System.exit(1);
    }
  }

  static final class PrintsToOut {
    void print() {
      System.out.println();
    }
  }

  static final class PrintsToErr {
    void print() {
      System.err.println();
    }
  }
}
