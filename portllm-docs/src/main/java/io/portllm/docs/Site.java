package io.portllm.docs;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Comparator;
import java.util.List;

/**
 * Writes the documentation as static pages that need no network and no script. Pages lie where their Markdown lies in the
 * repository, so that relative links hold; {@code README.md} at the top becomes {@code index.html}. The Javadoc is expected in
 * {@code apidocs}.
 */
public final class Site {
  /** The sections of the navigation: a heading, and the folder whose pages it lists. */
  private static final List<String[]> SECTIONS = List.of(
      new String[] {"Tutorial", "docs/tutorial/"},
      new String[] {"How to", "docs/how-to/"},
      new String[] {"Reference", "docs/reference/"},
      new String[] {"Concepts", "docs/concepts/"},
      new String[] {"Designs", "docs/designs/"},
      new String[] {"Project", ""});

  private static final String SOURCE = "https://github.com/portllm/portllm/blob/main/";

  private final Documentation documentation;
  private final Path output;
  private final String version;

  private Site(Documentation documentation, Path output, String version) {
    this.documentation = documentation;
    this.output = output;
    this.version = version;
  }

  /**
   * Writes the site.
   *
   * @param arguments the repository, the folder to write to, and the version that pages state
   */
  public static void main(String[] arguments) throws IOException {
    write(Documentation.of(Path.of(arguments[0])), Path.of(arguments[1]), arguments[2]);
  }

  /** Writes the pages of {@code documentation}, and the files that they link to, into {@code output}. */
  static void write(Documentation documentation, Path output, String version) throws IOException {
    Site site = new Site(documentation, output, version);
    for (Page page : documentation.pages()) {
      Path file = output.resolve(address(page.path()));
      Files.createDirectories(file.getParent());
      Files.writeString(file, site.html(page));
    }
    try (InputStream style = Site.class.getResourceAsStream("style.css")) {
      Files.copy(style, output.resolve("style.css"), StandardCopyOption.REPLACE_EXISTING);
    }
  }

  /** The place of a page or file of the repository in the site. */
  private static String address(String path) {
    if (path.equals("README.md")) {
      return "index.html";
    }
    return path.endsWith(".md") ? path.substring(0, path.length() - ".md".length()) + ".html" : path;
  }

  private String html(Page page) throws IOException {
    String up = "../".repeat((int) page.path().chars().filter(each -> each == '/').count());
    String template;
    try (InputStream in = Site.class.getResourceAsStream("page.html")) {
      template = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    }
    String title = escaped(page.title());
    return template
        .replace("@TITLE@", title.equals("PortLLM for the JVM") ? title : title + " · PortLLM")
        .replace("@VERSION@", escaped(version))
        .replace("@NAVIGATION@", navigation(page, up))
        .replace("@UP@", up)
        .replace("@BODY@", page.html(link -> destination(page, link, up)));
  }

  private String navigation(Page here, String up) {
    StringBuilder html = new StringBuilder();
    for (String[] section : SECTIONS) {
      html.append("<h2>").append(section[0]).append("</h2>\n<ul>\n");
      documentation.pages().stream()
          .filter(page -> page.path().startsWith(section[1]) && page.path().indexOf('/', section[1].length()) < 0)
          .filter(page -> !page.path().endsWith("README.md"))
          .sorted(Comparator.comparing(section[0].equals("Designs") ? Page::path : Page::title, String.CASE_INSENSITIVE_ORDER))
          .forEach(page -> html.append("<li><a href=\"").append(up).append(address(page.path())).append('"')
              .append(page == here ? " aria-current=\"page\"" : "")
              .append('>').append(escaped(page.title())).append("</a></li>\n"));
      html.append("</ul>\n");
    }
    return html.toString();
  }

  /** A link's destination in the site. What is no page is copied beside them; folders are looked at in the repository. */
  private String destination(Page page, String link, String up) {
    if (Documentation.leadsElsewhere(link) || link.startsWith("#")) {
      return link;
    }
    String target = Documentation.target(page, link);
    String anchor = link.contains("#") ? link.substring(link.indexOf('#')) : "";
    Path file = documentation.repository().resolve(target);
    if (!Files.isRegularFile(file)) {
      return SOURCE + target;
    }
    if (documentation.page(target) == null) {
      try {
        Path copy = output.resolve(target);
        Files.createDirectories(copy.getParent());
        Files.copy(file, copy, StandardCopyOption.REPLACE_EXISTING);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
    return up + address(target) + anchor;
  }

  private static String escaped(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\"", "&quot;");
  }
}
