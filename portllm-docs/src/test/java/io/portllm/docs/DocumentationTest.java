package io.portllm.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DocumentationTest {
  static final Path REPOSITORY = Path.of("..").toAbsolutePath().normalize();

  @Test
  void everyLinkLeadsToAFileAndAHeading() throws IOException {
    assertEquals(List.of(), Documentation.of(REPOSITORY).brokenLinks());
  }

  @Test
  void everyPageIsInTheIndex() throws IOException {
    Documentation documentation = Documentation.of(REPOSITORY);
    Page index = documentation.page("docs/README.md");
    Page designs = documentation.page("docs/designs/README.md");
    Set<String> listed = index.links().stream().map(link -> Documentation.target(index, link)).collect(Collectors.toSet());
    designs.links().forEach(link -> listed.add(Documentation.target(designs, link)));
    List<String> missing = documentation.pages().stream()
        .map(Page::path)
        .filter(path -> path.startsWith("docs/") && !path.equals("docs/README.md") && !listed.contains(path))
        .toList();
    assertEquals(List.of(), missing);
  }

  @Test
  void theVersionsToPasteAreThoseOfTheBuild() throws IOException {
    String pom = Files.readString(REPOSITORY.resolve("pom.xml"));
    String page = Files.readString(REPOSITORY.resolve("docs/reference/dependencies.md"));
    Matcher pasted = Pattern.compile("<artifactId>([^<]*)</artifactId><version>([^<]*)</version>").matcher(page);
    int count = 0;
    while (pasted.find()) {
      String property = "<" + pasted.group(1) + ".version>" + pasted.group(2) + "</";
      assertTrue(pom.contains(property), property);
      assertTrue(page.contains("| " + pasted.group(2) + " |"), pasted.group());
      count++;
    }
    assertEquals(8, count);
  }

  @Test
  void brokenLinksAreFound(@TempDir Path repository) throws IOException {
    Files.createDirectories(repository.resolve("docs/how-to"));
    Files.writeString(repository.resolve("README.md"),
        "# Top\n\n[a](docs/how-to/a.md#what-it-does-17) [b](docs/b.md) [c](#top-1) [d](docs/how-to/a.md#none) [e](../x) "
            + "[f](https://x.org/#y)\n");
    Files.writeString(repository.resolve("docs/how-to/a.md"), "# A\n\n## What it *does*: `17`\n\n[up](../../README.md#top)\n");
    assertEquals(
        List.of(
            "README.md: docs/b.md leads to no file",
            "README.md: #top-1 leads to no heading",
            "README.md: docs/how-to/a.md#none leads to no heading",
            "README.md: ../x leads to no file"),
        Documentation.of(repository).brokenLinks());
  }

  @Test
  void headingsOfOneNameGetNumbers() {
    Page page = new Page("a.md", "# Rules\n\n## Rules\n\n### F8, `x_y` & Ünï–codes\n");
    assertEquals(Set.of("rules", "rules-1", "f8-x_y--ünïcodes"), page.anchors());
    assertEquals("Rules", page.title());
  }

  @Test
  void linksOfPagesLeadToPagesOfTheSite(@TempDir Path output) throws IOException {
    Documentation documentation = Documentation.of(REPOSITORY);
    Site.write(documentation, output, "1");
    assertTrue(Files.readString(output.resolve("index.html")).contains("href=\"docs/tutorial/first-port.html\""));
    int seen = 0;
    for (Page page : documentation.pages()) {
      Path file = output.resolve(page.path().equals("README.md") ? "index.html" : page.path().replaceAll("\\.md$", ".html"));
      Matcher hrefs = Pattern.compile("(?:href|src)=\"([^\"]*)\"").matcher(Files.readString(file));
      while (hrefs.find()) {
        String href = hrefs.group(1).replaceAll("#.*", "");
        if (!Documentation.leadsElsewhere(href) && !href.isEmpty() && !href.endsWith("apidocs/index.html")) {
          assertTrue(Files.isRegularFile(file.resolveSibling(href)), page.path() + ": " + href);
          seen++;
        }
      }
    }
    assertTrue(seen > 100, "only " + seen + " links");
  }

  @Test
  void pagesOfTheSiteLoadNothingFromElsewhere(@TempDir Path output) throws IOException {
    Documentation documentation = Documentation.of(REPOSITORY);
    Site.write(documentation, output, "1");
    for (Page page : documentation.pages()) {
      Path file = output.resolve(page.path().equals("README.md") ? "index.html" : page.path().replaceAll("\\.md$", ".html"));
      String html = Files.readString(file);
      assertTrue(!html.contains("<script") && !html.matches("(?s).*(<link|<img|src=)[^>]*https?:.*"), page.path());
    }
  }
}
