package io.portllm.portability;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.portllm.Rounding;
import io.portllm.portability.Finding.Severity;
import io.portllm.portability.TensorReport.Change;
import io.portllm.portability.TensorReport.Meeting;
import io.portllm.portability.TensorReport.Update;
import java.io.IOException;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.xml.parsers.DocumentBuilder;
import javax.xml.parsers.DocumentBuilderFactory;
import javax.xml.parsers.ParserConfigurationException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.Node;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;
import org.xml.sax.SAXException;

class PortabilityPageTest {
  private static PortabilityReport report(int layers, int experts) {
    return Reports.report("tuned", "new", List.of(), Reports.tensors(layers, experts));
  }

  private static String full(PortabilityReport report) {
    return PortabilityPage.of(report).withTrial(Reports.trial()).withOldFingerprint("00ff").withNewFingerprint("ff00").html();
  }

  /** The page as XML, which it is too. */
  private static Document parse(String html) {
    try {
      DocumentBuilder builder = DocumentBuilderFactory.newInstance().newDocumentBuilder();
      builder.setErrorHandler(null);
      return builder.parse(new InputSource(new StringReader(html)));
    } catch (ParserConfigurationException | SAXException | IOException e) {
      throw new AssertionError(e);
    }
  }

  private static List<Element> elements(Document page, String tag) {
    NodeList found = page.getElementsByTagName(tag);
    List<Element> elements = new ArrayList<>();
    for (int i = 0; i < found.getLength(); i++) {
      elements.add((Element) found.item(i));
    }
    return elements;
  }

  private static List<Element> ofClass(Document page, String tag, String style) {
    return elements(page, tag).stream().filter(element -> List.of(element.getAttribute("class").split(" ")).contains(style)).toList();
  }

  /** The cells of the rows of the table of all tensors, by the tensor's name. */
  private static Map<String, List<String>> rows(Document page) {
    Map<String, List<String>> rows = new HashMap<>();
    NodeList found = ofClass(page, "table", "tensors").get(0).getElementsByTagName("tr");
    for (int i = 1; i < found.getLength(); i++) {
      List<String> cells = new ArrayList<>();
      for (Node cell = found.item(i).getFirstChild(); cell != null; cell = cell.getNextSibling()) {
        cells.add(cell.getTextContent());
      }
      rows.put(cells.get(0), cells.subList(1, cells.size()));
    }
    return rows;
  }

  private static double number(String shown) {
    return new BigDecimal(shown.replace('−', '-').replace("\u202f", "")).doubleValue();
  }

  /** Equal to the three or four digits that the page shows. */
  private static void assertShown(double expected, String shown, String what) {
    assertEquals(expected, number(shown), 0.005 * Math.abs(expected) + 1e-12, what);
  }

  @ParameterizedTest
  @CsvSource({"4, 0", "32, 0", "126, 0", "12, 64"})
  void thePageIsWellFormedAndHasEveryTensor(int layers, int experts) {
    PortabilityReport report = report(layers, experts);

    Document page = parse(full(report));

    Map<String, List<String>> rows = rows(page);
    assertEquals(report.tensors().size() + 2, rows.size());
    for (TensorReport tensor : report.tensors()) {
      List<String> cells = rows.get(tensor.name());
      Update update = tensor.update().orElseThrow();
      assertEquals(4096, number(cells.get(0)));
      assertShown(100 * update.drift(), cells.get(1), "drift");
      assertShown(100 * update.spread(), cells.get(2), "spread");
      assertShown(update.cosine(), cells.get(3), "cosine");
      assertEquals("0", cells.get(4));
      if (tensor.change().isEmpty()) {
        assertEquals("not changed", cells.get(5));
        continue;
      }
      Change change = tensor.change().get();
      Meeting meeting = tensor.meeting().orElseThrow();
      assertShown(100 * change.relative(), cells.get(5), "patch");
      assertShown(meeting.ratio(), cells.get(6), "ratio");
      assertShown(meeting.cosine(), cells.get(7), "cosine with the update");
      assertShown(meeting.signConflicts().orElseThrow(), cells.get(8), "signs");
      assertShown(meeting.weightedSignConflicts().orElseThrow(), cells.get(9), "signs");
      assertShown(100 * meeting.inputDrift().orElseThrow(), cells.get(10), "inputs");
      assertShown(100 * meeting.outputDrift().orElseThrow(), cells.get(11), "outputs");
      assertShown(meeting.inputOverlap().orElseThrow(), cells.get(12), "overlap");
      assertShown(meeting.outputOverlap().orElseThrow(), cells.get(13), "overlap");
      assertShown(meeting.inputWeight().orElseThrow(), cells.get(14), "weight");
      assertShown(meeting.outputWeight().orElseThrow(), cells.get(15), "weight");
      assertEquals(change.rounding().vanished(), number(cells.get(16)));
      assertEquals("0", cells.get(17));
      assertEquals("0", cells.get(18));
    }
  }

  @Test
  void cellsOfPicturesHaveTheFiguresOfTheirTensor() {
    PortabilityReport report = report(5, 0);
    Document page = parse(PortabilityPage.of(report).html());

    List<Element> maps = ofClass(page, "svg", "heat");
    assertEquals(4, maps.size());
    for (TensorReport tensor : report.tensors()) {
      if (tensor.layer().isPresent()) {
        String place = tensor.layer().getAsInt() + " " + tensor.module() + ": ";
        assertShown(100 * tensor.update().orElseThrow().drift(), cell(maps.get(1), place).replace("\u00a0%", ""), "drift");
        if (tensor.change().isPresent()) {
          List<String> shown = maps.stream().map(map -> cell(map, place)).toList();
          Meeting meeting = tensor.meeting().orElseThrow();
          assertShown(100 * tensor.change().get().relative(), shown.get(0).replace("\u00a0%", ""), "patch");
          assertEquals(meeting.cosine(), number(shown.get(2)), 5e-5);
          double overlap = Math.max(meeting.inputOverlap().orElseThrow(), meeting.outputOverlap().orElseThrow());
          assertShown(overlap, shown.get(3), "overlap");
        } else {
          assertThrows(AssertionError.class, () -> cell(maps.get(0), place));
        }
      }
    }
  }

  private static String cell(Element map, String place) {
    NodeList titles = map.getElementsByTagName("title");
    for (int i = 0; i < titles.getLength(); i++) {
      String text = titles.item(i).getTextContent();
      if (text.startsWith(place)) {
        return text.substring(place.length());
      }
    }
    throw new AssertionError("no cell " + place);
  }

  @Test
  void expertsShareACellWithTheirNormsTakenTogether() {
    PortabilityReport report = report(2, 64);
    Element patch = ofClass(parse(PortabilityPage.of(report).html()), "svg", "heat").get(0);
    double change = 0;
    double weights = 0;
    for (TensorReport tensor : report.tensors()) {
      if (tensor.name().startsWith("model.layers.1.mlp.experts.") && tensor.module().endsWith("up_proj")) {
        Change found = tensor.change().orElseThrow();
        change += Math.pow(found.norm(), 2);
        weights += Math.pow(found.norm() / found.relative(), 2);
      }
    }

    String shown = cell(patch, "1 mlp.experts.*.up_proj (64 tensors): ");

    assertShown(100 * Math.sqrt(change / weights), shown.replace("\u00a0%", ""), "patch");
  }

  @Test
  void theVerdictComesFirstWithItsFigures() {
    Document page = parse(PortabilityPage.of(report(4, 0)).html());

    Element verdict = ofClass(page, "section", "verdict").get(0);
    assertEquals(elements(page, "section").get(0), verdict);
    assertTrue(verdict.getTextContent().contains("PORT confidence medium"), verdict::getTextContent);
    assertTrue(verdict.getTextContent().contains("Apply the patch."), verdict::getTextContent);
    assertTrue(verdict.getTextContent().contains("the update moved little"), verdict::getTextContent);
    List<String> figures = ofClass(page, "p", "figure").stream().map(Element::getTextContent).toList();
    assertEquals(3, figures.size());
    assertEquals("0.931", figures.get(0));
    Update update = report(4, 0).patched().update().orElseThrow();
    assertShown(100 * update.drift(), figures.get(1).replace("\u00a0%", ""), "drift");
    assertShown(report(4, 0).patched().meeting().orElseThrow().ratio(), figures.get(2).replace("×", ""), "ratio");
  }

  @Test
  void aTrialComesBeforeWhatWasJudgedWithoutData() {
    String text = parse(full(report(4, 0))).getDocumentElement().getTextContent();

    assertTrue(text.indexOf("Measured on data") > 0 && text.indexOf("Measured on data") < text.indexOf("Judged without data"));
    for (String part : List.of(
        "0.927", "[0.841, 1.003]", "0.456", "[0.388, 0.520]", "7 of 250", "old base with the patch", "0.904", "[0.861, 0.935]", "re-tuned",
        "to retain, ported", "3 of 100 right before and wrong now", "0.75: 0.810", "Best at 1.25", "0.25: 0.900", "1: 0.868")) {
      assertTrue(text.contains(part), part);
    }
  }

  @Test
  void aTrialSaysWhatToDoAndWhichLimitsAreMissed() {
    PortabilityPage page = PortabilityPage.of(report(4, 0));
    TrialReport trial = Reports.trial();

    String bare = parse(page.withTrial(trial).html()).getDocumentElement().getTextContent();
    assertTrue(bare.contains(trial.advice()) && trial.advice().contains("it costs 3 of the 100 items to retain"), trial.advice());
    assertTrue(bare.contains("0.950 → 0.930"));
    assertFalse(bare.contains("Limits"));
    String kept = parse(page.withTrial(trial, TrialLimits.none().recovery(0.9)).html()).getDocumentElement().getTextContent();
    assertTrue(kept.contains("All are kept."));
    TrialLimits limits = TrialLimits.none().recovery(0.95).negativeFlips(0.01);
    String missed = parse(page.withTrial(trial, limits).html()).getDocumentElement().getTextContent();
    assertTrue(missed.contains("Limits that are missed"));
    assertEquals(3, trial.missed(limits).size());
    trial.missed(limits).forEach(limit -> assertTrue(missed.contains(limit), limit));
  }

  @Test
  void aChainHasItsCurveAndTheLastReleaseInFull() {
    List<PortabilityReport> reports = List.of(
        Reports.report("tuned", "second", List.of(), Reports.tensors(4, 0)),
        Reports.report("tuned", "third", List.of(), Reports.tensors(4, 0)));
    ChainReport chain = new ChainReport(reports, OptionalInt.of(1), OptionalInt.empty(), "the trend turns at 'third'");

    Document page = parse(PortabilityPage.of(chain).html());

    String text = page.getDocumentElement().getTextContent();
    assertTrue(text.contains("the trend turns at 'third'."), text);
    assertTrue(elements(page, "title").stream().anyMatch(title -> title.getTextContent().equals("score, third: 0.9312")));
    assertTrue(elements(page, "h1").get(0).getTextContent().endsWith("third"));
  }

  @Test
  void namesFromFilesAreText() {
    String evil = "</title></style><script>alert(1)</script><img src=x onerror='alert(2)'>\"&amp; \u202eforged\u202c\u0000\ud800\ufffe";
    List<TensorReport> tensors = new ArrayList<>(Reports.tensors(2, 0));
    Random random = new Random(3);
    tensors.add(Reports.tensor(evil + ".weight", OptionalInt.empty(), evil, true, random));
    tensors.add(Reports.tensor("model.layers.1." + evil + ".weight", OptionalInt.of(1), evil, true, random));
    tensors.add(Reports.tensor("x".repeat(100_000), OptionalInt.empty(), "x".repeat(100_000), true, random));
    PortabilityReport report = Reports.report(evil, evil, List.of(new Finding(Severity.WARNING, evil)), tensors);
    ChainReport chain = new ChainReport(List.of(report), OptionalInt.of(0), OptionalInt.empty(), evil);

    String html = PortabilityPage.of(chain).withTrial(Reports.trial()).withOldFingerprint(evil).html();

    Document page = parse(html);
    assertTrue(elements(page, "script").isEmpty());
    assertTrue(elements(page, "img").isEmpty());
    assertFalse(html.contains("<script"));
    assertFalse(html.codePoints().anyMatch(c -> c == 0x202e || c == 0x202c || c == 0 || c == 0xfffe || c >= 0xd800 && c < 0xe000));
    assertTrue(html.contains("\\u{202e}forged\\u{202c}\\u{0}\\u{d800}\\u{fffe}"));
    assertEquals(html, new String(html.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8));
    assertTrue(html.length() < 300_000, () -> html.length() + " characters");
  }

  @Test
  void nothingIsLoadedAndNothingRuns() throws NoSuchAlgorithmException {
    String html = full(report(4, 0));
    Document page = parse(html);

    Pattern loading = Pattern.compile("(?i)https?:|//[a-z]|url\\(|@import|javascript:|data:|<link|<iframe|<object|<embed|<form");
    assertFalse(loading.matcher(html).find());
    for (Element element : elements(page, "*")) {
      for (int i = 0; i < element.getAttributes().getLength(); i++) {
        String name = element.getAttributes().item(i).getNodeName();
        assertFalse(name.startsWith("on") || List.of("src", "href", "xlink:href", "style", "srcset", "action").contains(name), name);
      }
    }
    String policy = elements(page, "meta").stream()
        .filter(meta -> meta.getAttribute("http-equiv").equals("Content-Security-Policy"))
        .findFirst().orElseThrow().getAttribute("content");
    Matcher hash = Pattern.compile("default-src 'none'; style-src 'sha256-([^']+)'; base-uri 'none'; form-action 'none'").matcher(policy);
    assertTrue(hash.matches(), policy);
    String sheet = html.substring(html.indexOf("<style>") + 7, html.indexOf("</style>"));
    byte[] digest = MessageDigest.getInstance("SHA-256").digest(sheet.getBytes(StandardCharsets.UTF_8));
    assertEquals(Base64.getEncoder().encodeToString(digest), hash.group(1));
  }

  @Test
  void theSameReportsGiveTheSameBytesInAnyLocale() {
    String first = full(report(6, 0));
    Locale before = Locale.getDefault();
    try {
      Locale.setDefault(Locale.forLanguageTag("ar-EG-u-nu-arab"));
      assertEquals(first, full(report(6, 0)));
    } finally {
      Locale.setDefault(before);
    }
  }

  @Test
  void picturesHaveTitlesAndTablesHaveHeadings() {
    Document page = parse(full(report(4, 0)));

    for (Element svg : elements(page, "svg")) {
      boolean hidden = svg.getAttribute("aria-hidden").equals("true");
      assertTrue(hidden || svg.getAttribute("role").equals("img") && svg.getFirstChild().getNodeName().equals("title"));
    }
    for (Element table : elements(page, "table")) {
      assertTrue(table.getElementsByTagName("th").getLength() > 0);
    }
    for (Element heading : elements(page, "th")) {
      assertFalse(heading.getAttribute("scope").isEmpty());
    }
  }

  @Test
  void whatIsNotKnownIsNotShown() {
    TensorReport bare = new TensorReport("w", OptionalInt.empty(), "w", 1, Optional.empty(), Optional.empty(), Optional.empty(), 0);
    PortabilityReport report = new PortabilityReport(
        "p", Optional.empty(), "n", PortabilityReport.Evidence.NONE, Verdict.PORT_AND_TUNE, Confidence.LOW, OptionalDouble.empty(),
        List.of("nothing is known"), "Give the old base.",
        new Lineage(Lineage.Kind.UNKNOWN, 0, 0, OptionalDouble.empty(), OptionalDouble.empty(), Optional.empty(), 0), List.of(), bare, bare,
        List.of(bare), Optional.empty());

    Document page = parse(PortabilityPage.of(report).html());

    assertTrue(ofClass(page, "svg", "heat").isEmpty());
    assertTrue(ofClass(page, "svg", "plot").isEmpty());
    assertTrue(ofClass(page, "p", "figure").isEmpty());
    assertEquals("–", rows(page).get("w").get(1));
    assertFalse(page.getDocumentElement().getTextContent().contains("NaN"));
  }

  @Test
  void figuresThatAreNoNumbersAreShownAsSuch() {
    List<TensorReport> tensors = new ArrayList<>(Reports.tensors(3, 0));
    for (double odd : new double[] {Double.NaN, Double.POSITIVE_INFINITY, 0, Double.MIN_VALUE, 1e300}) {
      Update update = new Update(odd, odd, odd, odd, odd, odd, OptionalDouble.of(odd), true);
      Change change = new Change(odd, odd, Rounding.NONE);
      OptionalDouble figure = OptionalDouble.of(odd);
      Meeting meeting = new Meeting(odd, odd, figure, figure, figure, figure, figure, figure, figure, figure);
      String name = "model.layers.1." + odd + ".weight";
      tensors.add(new TensorReport(
          name, OptionalInt.of(1), "" + odd, 9, Optional.of(update), Optional.of(change), Optional.of(meeting), 9));
    }
    Document page = parse(PortabilityPage.of(Reports.report("p", "n", List.of(), tensors)).html());

    Map<String, List<String>> rows = rows(page);
    assertEquals("NaN", rows.get("model.layers.1.NaN.weight").get(1));
    assertEquals("∞", rows.get("model.layers.1.Infinity.weight").get(6));
    assertEquals("0", rows.get("model.layers.1.0.0.weight").get(6));
    for (Element element : elements(page, "*")) {
      for (String attribute : List.of("x", "y", "x1", "y1", "width", "height", "d", "cx", "cy")) {
        assertFalse(element.getAttribute(attribute).matches(".*(NaN|Inf|E).*"), element.getAttribute(attribute));
      }
    }
  }

  @Test
  void encodersAndDecodersAreDrawnApart() {
    List<TensorReport> tensors = new ArrayList<>();
    Random random = new Random(4);
    for (String stack : List.of("encoder.block", "decoder.block")) {
      for (int layer = 0; layer < 3; layer++) {
        String module = "layer.0.SelfAttention.q";
        tensors.add(Reports.tensor(stack + "." + layer + "." + module + ".weight", OptionalInt.of(layer), module, true, random));
      }
    }

    Document page = parse(PortabilityPage.of(Reports.report("p", "n", List.of(), tensors)).html());

    List<String> headings = elements(page, "h3").stream().map(Element::getTextContent).toList();
    assertTrue(headings.containsAll(List.of("Layers of encoder.block", "Layers of decoder.block")), headings::toString);
    assertEquals(8, ofClass(page, "svg", "heat").size());
  }
}
