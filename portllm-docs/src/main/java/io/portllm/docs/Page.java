package io.portllm.docs;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.commonmark.ext.gfm.tables.TablesExtension;
import org.commonmark.node.AbstractVisitor;
import org.commonmark.node.Code;
import org.commonmark.node.FencedCodeBlock;
import org.commonmark.node.Heading;
import org.commonmark.node.HtmlBlock;
import org.commonmark.node.Image;
import org.commonmark.node.IndentedCodeBlock;
import org.commonmark.node.Link;
import org.commonmark.node.Node;
import org.commonmark.node.Text;
import org.commonmark.parser.Parser;
import org.commonmark.renderer.html.HtmlRenderer;

/**
 * One Markdown file: what it is called, where in it one can link to, where it links to, and its Java. Not thread-safe.
 *
 * <p>Anchors are those that GitHub gives to headings.
 */
public final class Page {
  private static final List<TablesExtension> EXTENSIONS = List.of((TablesExtension) TablesExtension.create());

  private static final Pattern INLINE_CODE = Pattern.compile("(?<!<pre>)<code>([^<\n]*)</code>");
  private static final Pattern OPTION = Pattern.compile("(?<=^| )-[-a-z]{1,30}(?= |$)");

  /**
   * A code block.
   *
   * @param language what stands behind the fence; may be empty
   * @param text the lines
   * @param java the Java, if it is
   */
  public record Listing(String language, String text, Optional<Snippet> java) {}

  private final String path;
  private final Node document;
  private final Map<Node, String> anchors = new HashMap<>();
  private final List<String> headings = new ArrayList<>();
  private final List<String> links = new ArrayList<>();
  private final List<Listing> listings = new ArrayList<>();
  private int snippets;

  /** Reads {@code markdown}, the contents of the file at {@code path}, relative to the repository, with forward slashes. */
  public Page(String path, String markdown) {
    this.path = path;
    this.document = Parser.builder().extensions(EXTENSIONS).build().parse(markdown);
    document.accept(new Finder());
  }

  /** The file, relative to the repository, with forward slashes. */
  public String path() {
    return path;
  }

  /** The first heading. */
  public String title() {
    return headings.isEmpty() ? path : headings.get(0);
  }

  /** What may stand behind {@code #} in links to this page. */
  public Set<String> anchors() {
    return new HashSet<>(anchors.values());
  }

  /** The destinations of the page's links and pictures, as written. */
  public List<String> links() {
    return List.copyOf(links);
  }

  /** The code blocks, fenced and indented, in their order. */
  public List<Listing> listings() {
    return List.copyOf(listings);
  }

  /** The fenced code blocks that are Java, in their order. */
  public List<Snippet> snippets() {
    return listings.stream().flatMap(each -> each.java().stream()).toList();
  }

  /** The page's contents as HTML, with each link's destination as {@code destinations} gives it. */
  String html(UnaryOperator<String> destinations) {
    String html = HtmlRenderer.builder()
        .extensions(EXTENSIONS)
        .attributeProviderFactory(context -> (node, tag, attributes) -> {
          if (anchors.containsKey(node)) {
            attributes.put("id", anchors.get(node));
          }
          if (node instanceof Link link) {
            attributes.put("href", destinations.apply(link.getDestination()));
          }
        })
        .build()
        .render(document);
    return unbroken(html);
  }

  /** Keeps browsers from breaking options after their hyphens. */
  private static String unbroken(String html) {
    return INLINE_CODE.matcher(html).replaceAll(code -> Matcher.quoteReplacement(
        "<code>" + OPTION.matcher(code.group(1)).replaceAll("<span class=\"word\">$0</span>") + "</code>"));
  }

  /** Lower case, blanks as hyphens, without what is neither letter, digit, hyphen nor underscore. */
  private static String slug(String heading) {
    return heading.strip().toLowerCase(Locale.ROOT).replaceAll("[^\\p{L}\\p{N}\\p{M} _-]", "").replace(' ', '-');
  }

  private static String text(Node node) {
    StringBuilder text = new StringBuilder();
    node.accept(new AbstractVisitor() {
      @Override
      public void visit(Text part) {
        text.append(part.getLiteral());
      }

      @Override
      public void visit(Code part) {
        text.append(part.getLiteral());
      }
    });
    return text.toString();
  }

  private final class Finder extends AbstractVisitor {
    private final Map<String, Integer> uses = new HashMap<>();

    @Override
    public void visit(Heading heading) {
      String text = text(heading);
      headings.add(text);
      String slug = slug(text);
      int earlier = uses.merge(slug, 1, Integer::sum) - 1;
      anchors.put(heading, earlier == 0 ? slug : slug + "-" + earlier);
      visitChildren(heading);
    }

    @Override
    public void visit(Link link) {
      links.add(link.getDestination());
      visitChildren(link);
    }

    @Override
    public void visit(Image image) {
      links.add(image.getDestination());
    }

    @Override
    public void visit(FencedCodeBlock block) {
      Optional<Snippet> java = Optional.empty();
      if (block.getInfo().equals("java")) {
        String comment = block.getPrevious() instanceof HtmlBlock html ? html.getLiteral() : "";
        java = Optional.of(Snippet.of(path, ++snippets, comment, block.getLiteral()));
      }
      listings.add(new Listing(block.getInfo(), block.getLiteral(), java));
    }

    @Override
    public void visit(IndentedCodeBlock block) {
      listings.add(new Listing("", block.getLiteral(), Optional.empty()));
    }
  }
}
