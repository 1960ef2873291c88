package io.portllm.docs;

import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Java in the documentation. A comment right before its block says what it presupposes: {@code <!-- given: Patch patch,
 * ModelVersion newBase -->} variables, {@code with: static int f() { return 1; }} in the same comment members of its class.
 * {@code <!-- compiled in: FILE -->} names the test that runs the same calls of a library which this module cannot have.
 *
 * @param page the Markdown file
 * @param number its place among the page's Java, from 1
 * @param given the variables that it presupposes, as the parameters of a method; may be empty
 * @param members the members that it presupposes; may be empty
 * @param elsewhere the file, relative to the repository, that is compiled in its place; may be empty
 * @param code the text of the block
 */
public record Snippet(String page, int number, String given, String members, String elsewhere, String code) {
  private static final Pattern GIVEN = Pattern.compile("<!--\\s*given:(.*?)(?:\\bwith:(.*?))?-->", Pattern.DOTALL);
  private static final Pattern ELSEWHERE = Pattern.compile("<!--\\s*compiled in:(.*?)-->", Pattern.DOTALL);
  private static final Pattern TYPE = Pattern.compile("(?m)^(@|public |final |abstract |sealed |record |class |interface |enum )");

  /** The packages that snippets may use without importing them. */
  private static final List<String> PACKAGES = List.of(
      "io.portllm", "io.portllm.compress", "io.portllm.cuda", "io.portllm.extract", "io.portllm.io", "io.portllm.merge",
      "io.portllm.nd4j", "io.portllm.portability", "java.io", "java.nio.file", "java.util", "java.util.concurrent",
      "org.nd4j.linalg.api.ndarray");

  static Snippet of(String page, int number, String comment, String code) {
    Matcher matcher = GIVEN.matcher(comment);
    boolean given = matcher.find();
    return new Snippet(page, number, part(given, matcher, 1), part(given, matcher, 2), elsewhere(comment), code);
  }

  private static String part(boolean found, Matcher matcher, int group) {
    return found && matcher.group(group) != null ? matcher.group(group).strip() : "";
  }

  private static String elsewhere(String comment) {
    Matcher matcher = ELSEWHERE.matcher(comment);
    return part(matcher.find(), matcher, 1);
  }

  /** Where it is, for messages. */
  public String where() {
    return page + ", Java no. " + number;
  }

  /**
   * A compilation unit. Types stay top-level types; statements become the body of a static method {@code run}, with what is
   * given as its parameters, of a class called {@code name}. Lines that import something go to the top.
   *
   * @param name the class, where the snippet has none
   */
  public String unit(String name) {
    StringBuilder imports = new StringBuilder();
    StringBuilder body = new StringBuilder();
    for (String line : code.lines().toList()) {
      (line.startsWith("import ") ? imports : body).append(line).append('\n');
    }
    for (String each : PACKAGES) {
      imports.append("import ").append(each).append(".*;\n");
    }
    if (TYPE.matcher(body).find()) {
      // Only one type may be public in a file, and then the file has its name.
      return imports + body.toString().replaceAll("(?m)^public (?=(final |abstract |sealed )?(class|record|interface|enum) )", "");
    }
    return imports + "final class " + name + " {\n" + members + "\n  static void run(" + given + ") throws Exception {\n" + body
        + "  }\n}\n";
  }
}
