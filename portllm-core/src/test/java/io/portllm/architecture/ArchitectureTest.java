package io.portllm.architecture;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaCall;
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
import io.portllm.Patch;
import io.portllm.internal.kernel.Floats;
import io.portllm.internal.text.Names;
import io.portllm.nd4j.Nd4jModel;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.nd4j.linalg.api.buffer.DataBuffer;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.shade.jackson.databind.ObjectMapper;

/**
 * Who may know whom. Each rule holds for the module's classes, and is shown to fail for a class at the end of this file that
 * breaks it. Those that expose something are public, and so must this one be.
 */
public class ArchitectureTest {
  private static final JavaClasses CORE = new ClassFileImporter()
      .importUrl(Patch.class.getProtectionDomain().getCodeSource().getLocation());

  @Test
  void nd4jIsTouchedInOnePackage() {
    ArchRule rule = noClasses().that().resideOutsideOfPackage("io.portllm.nd4j")
        .should().dependOnClassesThat().resideInAnyPackage("org.nd4j..", "org.bytedeco..");
    holdsButNotFor(rule, TouchesNd4j.class);
    assertTrue(CORE.get(Nd4jModel.class).getDirectDependenciesFromSelf().stream()
        .anyMatch(d -> d.getTargetClass().getPackageName().startsWith("org.nd4j")));
  }

  @Test
  void nobodyUsesReductionsOfNd4j() {
    holdsButNotFor(noClasses().should().callMethodWhere(isReduction()), Reduces.class, ReducesStatically.class);
  }

  @Test
  void nobodyMakesBuffersFromByteBuffers() {
    holdsButNotFor(noClasses().should().callMethodWhere(makesBufferFromByteBuffer()), MakesBuffer.class);
  }

  @Test
  void publicSignaturesExposeNothingInternal() {
    ArchRule rule = classes().that(canBeSeenFromOutside()).should(notExpose(resideInAPackage("..internal..")));
    holdsButNotFor(
        rule,
        ExposesParameter.class,
        ExposesResult.class,
        ExposesField.class,
        ExposesSupertype.class,
        ExposesTypeArgument.class);
    assertFalse(isBroken(rule, ExposesNothing.class));
  }

  @Test
  void coreKnowsNoFilesJsonOrCommandLine() {
    ArchRule rule = noClasses().should().dependOnClassesThat()
        .resideInAnyPackage("com.fasterxml..", "org.nd4j.shade..", "picocli..", "io.portllm.io..", "io.portllm.cli..");
    holdsButNotFor(rule, UsesShadedJackson.class);
  }

  @Test
  void internalsAreUsedFromInsideAlone() {
    internalsAreUsedBy("io.portllm..").check(CORE);
    assertTrue(internalsAreUsedBy("io.portllm.internal..").evaluate(CORE).hasViolation());
  }

  private static ArchRule internalsAreUsedBy(String... packages) {
    return classes().that().resideInAPackage("io.portllm..internal..")
        .should().onlyHaveDependentClassesThat().resideInAnyPackage(packages);
  }

  private static DescribedPredicate<JavaCall<?>> isReduction() {
    return describe("are reductions of ND4J, which are wrong for large arrays", call ->
        (call.getTargetOwner().isAssignableTo(INDArray.class) || call.getTargetOwner().isEquivalentTo(Nd4j.class))
            && Stream.of("norm", "sum", "mean", "std", "var", "prod", "entropy", "logEntropy", "shannonEntropy")
                .anyMatch(call.getTarget().getName()::startsWith));
  }

  private static DescribedPredicate<JavaCall<?>> makesBufferFromByteBuffer() {
    return describe("are Nd4j.createBuffer(ByteBuffer, ...), which loses some types", call ->
        call.getTargetOwner().isEquivalentTo(Nd4j.class)
            && call.getTarget().getName().equals("createBuffer")
            && call.getTarget().getRawParameterTypes().stream().anyMatch(type -> type.isEquivalentTo(ByteBuffer.class)));
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
    rule.check(CORE);
    for (Class<?> type : breaking) {
      assertTrue(isBroken(rule, type), type.getSimpleName());
    }
  }

  private static boolean isBroken(ArchRule rule, Class<?> type) {
    return rule.evaluate(new ClassFileImporter().importClasses(type)).hasViolation();
  }

  static final class TouchesNd4j {
    private INDArray array;
  }

  static final class Reduces {
    Number norm(INDArray array) {
      return array.norm2Number();
    }
  }

  static final class ReducesStatically {
    INDArray mean(INDArray array) {
      return Nd4j.mean(array);
    }
  }

  static final class MakesBuffer {
    DataBuffer of(ByteBuffer bytes) {
      return Nd4j.createBuffer(bytes, DataType.FLOAT, 1);
    }
  }

  static final class UsesShadedJackson {
    private ObjectMapper mapper;
  }

  public interface ExposesParameter {
    void use(Floats floats);
  }

  public interface ExposesResult {
    Names names();
  }

  public abstract static class ExposesField {
    protected Names names;
  }

  public interface ExposesSupertype extends Supplier<Names> {}

  public interface ExposesTypeArgument {
    List<? extends Optional<Names[]>> names();
  }

  public static final class ExposesNothing {
    private final Names names = null;

    Names names() {
      return names;
    }
  }
}
