package io.portllm.docs;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** All Markdown of a repository: the files at its top and at the top of {@code samples}, and all under {@code docs}. Immutable. */
public final class Documentation {
  private static final Pattern ELSEWHERE = Pattern.compile("[a-z][a-z0-9+.-]*:.*");

  private final Path repository;
  private final Map<String, Page> pages;

  private Documentation(Path repository, Map<String, Page> pages) {
    this.repository = repository;
    this.pages = pages;
  }

  /**
   * Reads it.
   *
   * @throws IOException if a file cannot be read
   */
  public static Documentation of(Path repository) throws IOException {
    Map<String, Page> pages = new TreeMap<>();
    read(repository, repository, 1, pages);
    read(repository, repository.resolve("samples"), 1, pages);
    read(repository, repository.resolve("docs"), Integer.MAX_VALUE, pages);
    return new Documentation(repository.normalize(), pages);
  }

  private static void read(Path repository, Path folder, int depth, Map<String, Page> pages) throws IOException {
    if (!Files.isDirectory(folder)) {
      return;
    }
    try (Stream<Path> files = Files.walk(folder, depth)) {
      for (Path file : files.filter(each -> each.toString().endsWith(".md")).toList()) {
        String path = repository.relativize(file).toString().replace('\\', '/');
        pages.put(path, new Page(path, Files.readString(file)));
      }
    }
  }

  /** The pages, by path. */
  public List<Page> pages() {
    return List.copyOf(pages.values());
  }

  /** The page at {@code path}, relative to the repository; null if there is none. */
  public Page page(String path) {
    return pages.get(path);
  }

  /** True for links to other sites and to people. */
  public static boolean leadsElsewhere(String link) {
    return ELSEWHERE.matcher(link).matches();
  }

  /** Where {@code link} of {@code page} leads, relative to the repository, without its anchor. */
  public static String target(Page page, String link) {
    String file = link.contains("#") ? link.substring(0, link.indexOf('#')) : link;
    if (file.isEmpty()) {
      return page.path();
    }
    Path folder = Path.of(page.path()).getParent();
    Path target = (folder == null ? Path.of(file) : folder.resolve(file)).normalize();
    return target.toString().replace('\\', '/');
  }

  /** What is wrong with links: each with its page, and what it lacks. Links to other sites are not looked at. */
  public List<String> brokenLinks() {
    List<String> broken = new ArrayList<>();
    for (Page page : pages.values()) {
      for (String link : page.links()) {
        if (leadsElsewhere(link)) {
          continue;
        }
        String target = target(page, link);
        Page other = pages.get(target);
        if (target.startsWith("..") || !Files.exists(repository.resolve(target))) {
          broken.add(page.path() + ": " + link + " leads to no file");
        } else if (link.contains("#") && (other == null || !other.anchors().contains(link.substring(link.indexOf('#') + 1)))) {
          broken.add(page.path() + ": " + link + " leads to no heading");
        }
      }
    }
    return broken;
  }

  Path repository() {
    return repository;
  }
}
