package io.portllm.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Compiles the Java in the documentation, as Java 17, without warnings. */
class SnippetsTest {
  /** What Javadoc speaks of without declaring it. */
  private static final String KNOWN_TO_JAVADOC = """
      static ModelVersion base, oldBase, newBase, fineTuned;
      static Patch patch, clinic, legal, clinicPatch, lawFirmPatch;
      static PortabilityReport report;
      static TrialReport trial;
      static Path file;
      static INDArray baseWeights, tunedWeights, newWeights;
      static List<String> prompts, whatItMustStillKnow;

      static double[] askAll(ModelVersion model, List<String> items) {
        return new double[items.size()];
      }
      """;
  private static final Pattern IN_JAVADOC = Pattern.compile("(?s)\\{@snippet :\\n(.*?)\\n \\* }\\n \\*/?\\n");

  @TempDir
  static Path classes;

  @TestFactory
  Stream<DynamicTest> everySnippetCompiles() throws IOException {
    List<Snippet> snippets = Documentation.of(DocumentationTest.REPOSITORY).pages().stream()
        .flatMap(page -> page.snippets().stream())
        .toList();
    assertTrue(snippets.size() >= 13, "found " + snippets.size());
    return snippets.stream()
        .filter(each -> each.elsewhere().isEmpty())
        .map(each -> DynamicTest.dynamicTest(each.where(), () -> assertEquals(List.of(), errors(each, classes))));
  }

  @TestFactory
  Stream<DynamicTest> everySnippetInJavadocCompiles() throws IOException {
    List<Snippet> snippets = new ArrayList<>();
    for (String module : List.of("portllm-core", "portllm-io")) {
      try (Stream<Path> files = Files.walk(DocumentationTest.REPOSITORY.resolve(module + "/src/main/java"))) {
        for (Path file : files.filter(each -> each.toString().endsWith(".java")).toList()) {
          Matcher found = IN_JAVADOC.matcher(Files.readString(file));
          while (found.find()) {
            String code = found.group(1).replaceAll("(?m)^ \\* ?", "");
            snippets.add(new Snippet(file.getFileName().toString(), 1, "", KNOWN_TO_JAVADOC, "", code));
          }
        }
      }
    }
    assertTrue(snippets.size() >= 10, "found " + snippets.size());
    return snippets.stream().map(each -> DynamicTest.dynamicTest(each.page(), () -> assertEquals(List.of(), errors(each, classes))));
  }

  @Test
  void whatIsCompiledElsewhereIsThere() throws IOException {
    List<Snippet> snippets = Documentation.of(DocumentationTest.REPOSITORY).pages().stream()
        .flatMap(page -> page.snippets().stream())
        .filter(each -> !each.elsewhere().isEmpty())
        .toList();
    assertEquals(
        List.of("docs/how-to/object-stores.md", "docs/how-to/spark.md", "docs/reference/engines.md", "docs/reference/engines.md"),
        snippets.stream().map(Snippet::page).sorted().toList());
    for (Snippet each : snippets) {
      String test = Files.readString(DocumentationTest.REPOSITORY.resolve(each.elsewhere()));
      if (each.page().startsWith("docs/how-to/")) {
        each.code().lines().forEach(line -> assertTrue(test.contains(line.strip()), each.where() + ": " + line));
        continue;
      }
      String call = each.code().contains("ModelSupport") ? "ModelSupport.loadModel(" : "setCachePrompt(false)";
      assertTrue(each.code().contains(call) && test.contains(call), each.where());
    }
  }

  @Test
  void staleSnippetsAreFound() {
    String stale = """
        # Page

        <!-- given: ModelVersion base, ModelVersion newBase -->

        ```java
        Patch patch = Patch.from(base, base);
        patch.putOnto(newBase);
        ```
        """;
    List<String> errors = errors(new Page("page.md", stale).snippets().get(0), classes);
    assertEquals(1, errors.size(), errors.toString());
    assertTrue(errors.get(0).contains("putOnto"), errors.get(0));
    assertEquals(List.of(), errors(new Page("page.md", stale.replace("putOnto", "applyTo")).snippets().get(0), classes));
  }

  @Test
  void whatIsNotGivenIsNotThere() {
    Snippet snippet = new Page("page.md", "```java\npatch.negated();\n```\n").snippets().get(0);
    assertTrue(errors(snippet, classes).get(0).contains("symbol:   variable patch"));
  }

  /** What the compiler says of {@code snippet}, whose classes go to {@code output}. */
  static List<String> errors(Snippet snippet, Path output) {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> found = new DiagnosticCollector<>();
    List<String> options = List.of(
        "--release", "17", "-proc:none", "-Xlint:all,-classfile,-processing", "-d", output.toString(),
        "-cp", System.getProperty("java.class.path"));
    compiler.getTask(null, null, found, options, null, List.of(new Unit(snippet))).call();
    return found.getDiagnostics().stream()
        .filter(each -> each.getKind() != Diagnostic.Kind.NOTE)
        .map(each -> snippet.where() + ": " + each.getMessage(Locale.ROOT))
        .toList();
  }

  private static final class Unit extends SimpleJavaFileObject {
    private final String text;

    Unit(Snippet snippet) {
      super(URI.create("string:///Snippet.java"), Kind.SOURCE);
      text = snippet.unit("Snippet");
    }

    @Override
    public CharSequence getCharContent(boolean ignoreEncodingErrors) {
      return text;
    }
  }
}
