package io.portllm.docs;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine;

/**
 * Runs a page's commands and Java in the working folder, in their order, as a reader who pastes them does: the main class of a
 * JVM of its own. A block after a command or after Java is what that prints, where {@code ...} stands for anything and seconds
 * count for nothing. Java that does what a command before it did finds the place empty that it writes to.
 */
final class PageRunner {
  private static final Pattern COMMAND = Pattern.compile("java -jar (?:portllm-cli/target/)?portllm\\.jar (.*)");
  private static final Pattern SOURCE = Pattern.compile("java -cp portllm-cli/target/portllm\\.jar (\\w+)\\.java");

  private static final Pattern WRITTEN = Pattern.compile("Checkpoints\\.write\\(.*Path\\.of\\(\"([^\"]+)\"\\)\\)");

  private final Path classes = Files.createTempDirectory("page");
  private String printed;
  private int exitCode;
  private boolean check;

  private PageRunner() throws IOException {}

  /**
   * Runs a page.
   *
   * @param arguments the repository, the page's path in it, and {@code java} if its Java alone is to be run
   */
  public static void main(String[] arguments) throws Exception {
    Page page = Documentation.of(Path.of(arguments[0])).page(arguments[1]);
    new PageRunner().run(page, arguments.length > 2);
  }

  private void run(Page page, boolean javaAlone) throws Exception {
    int steps = 0;
    for (Page.Listing listing : page.listings()) {
      List<String> lines = listing.text().lines().filter(line -> !line.isBlank() && !line.startsWith("mvn ")).toList();
      if (listing.java().isPresent()) {
        requireDone();
        runJava(listing.java().get());
        steps++;
      } else if (javaAlone || !listing.language().isEmpty() || lines.isEmpty()) {
        continue;
      } else if (COMMAND.matcher(lines.get(0)).matches() || SOURCE.matcher(lines.get(0)).matches()) {
        requireDone();
        for (String line : lines) {
          requireDone();
          runCommand(line);
          steps++;
        }
      } else {
        compare(lines);
      }
    }
    requireDone();
    System.out.println("steps: " + steps);
  }

  private void runCommand(String line) throws Exception {
    var source = SOURCE.matcher(line);
    if (source.matches()) {
      runMain(source.group(1));
      return;
    }
    var command = COMMAND.matcher(line);
    if (!command.matches()) {
      throw new AssertionError("no command: " + line);
    }
    Method factory = Class.forName("io.portllm.cli.Main").getDeclaredMethod("commandLine", String[].class);
    factory.setAccessible(true);
    StringWriter text = new StringWriter();
    String[] words = command.group(1).replace("'", "").split(" +");
    CommandLine portllm = (CommandLine) factory.invoke(null, (Object) words);
    portllm.setOut(new PrintWriter(text, true)).setErr(new PrintWriter(text, true));
    exitCode = portllm.execute(words);
    check = words[0].equals("check");
    printed = text.toString();
    System.out.println("$ " + line + "\n" + printed);
  }

  /** Fails if the command before failed, and nothing said that it would. */
  private void requireDone() {
    if (exitCode != 0 && !(check && (exitCode == 3 || exitCode == 4))) {
      throw new AssertionError("exit code " + exitCode + ": " + printed);
    }
  }

  private void compare(List<String> expected) {
    String pattern = expected.stream()
        .map(line -> line.equals("...") ? "(?:.*\n)*" : regex(line) + "\n")
        .collect(Collectors.joining());
    if (!Pattern.matches(pattern, printed.replace("\r", ""))) {
      throw new AssertionError("the page says\n" + String.join("\n", expected) + "\nbut this was printed\n" + printed);
    }
    if (expected.get(0).startsWith("portllm: ") && exitCode == 1) {
      exitCode = 0;
    }
  }

  private static String regex(String line) {
    return Arrays.stream(line.split("\\.\\.\\.", -1))
        .map(part -> Arrays.stream(part.split("\\d+\\.\\d s", -1)).map(Pattern::quote).collect(Collectors.joining("\\d+\\.\\d s")))
        .collect(Collectors.joining(".*"));
  }

  private void runJava(Snippet snippet) throws Exception {
    List<String> errors = SnippetsTest.errors(snippet, classes);
    if (!errors.isEmpty()) {
      throw new AssertionError(errors.toString());
    }
    var written = WRITTEN.matcher(snippet.code());
    while (written.find()) {
      delete(Path.of(written.group(1)));
    }
    if (Files.exists(classes.resolve("Snippet.class"))) {
      call("Snippet", "run");
      Files.delete(classes.resolve("Snippet.class"));
    }
  }

  private static void delete(Path output) throws IOException {
    if (Files.isDirectory(output)) {
      try (Stream<Path> files = Files.list(output)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
    }
    Files.deleteIfExists(output);
  }

  private void runMain(String name) throws Exception {
    call(name, "main", (Object) new String[0]);
  }

  private void call(String type, String method, Object... arguments) throws Exception {
    PrintStream out = System.out;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (URLClassLoader loader = new URLClassLoader(new URL[] {classes.toUri().toURL()})) {
      System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
      Method found = Arrays.stream(loader.loadClass(type).getDeclaredMethods()).filter(m -> m.getName().equals(method)).findFirst().get();
      found.setAccessible(true);
      found.invoke(null, arguments);
    } finally {
      System.setOut(out);
    }
    exitCode = 0;
    printed = bytes.toString(StandardCharsets.UTF_8);
    System.out.println("$ " + type + "." + method + "\n" + printed);
  }
}
