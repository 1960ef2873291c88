package io.portllm.nd4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.util.Enumeration;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What happens where the application brought no backend: the classes are loaded once more, without one. */
class Nd4jBackendTest {
  private final ClassLoader usual = Thread.currentThread().getContextClassLoader();
  private final ClassLoader without = new WithoutBackend(usual);

  @BeforeEach
  void hideTheBackend() {
    // ND4J looks for backends with the thread's class loader.
    Thread.currentThread().setContextClassLoader(without);
  }

  @AfterEach
  void showTheBackend() {
    Thread.currentThread().setContextClassLoader(usual);
  }

  @Test
  void theMessageNamesTheDependencyEveryTime() throws Exception {
    Class<?> merger = without.loadClass(Nd4jMerger.class.getName());
    assertNotSame(Nd4jMerger.class, merger);
    // The first failure is one of initialization, every later one is another.
    for (int i = 0; i < 2; i++) {
      Throwable refused = assertThrows(InvocationTargetException.class, () -> merger.getMethod("create").invoke(null)).getCause();
      assertEquals(IllegalStateException.class, refused.getClass());
      assertTrue(
          refused.getMessage().startsWith("no ND4J backend could be loaded: add org.nd4j:nd4j-native:1.0.0-M2.1"),
          refused.getMessage());
    }
  }

  @Test
  void aModelIsMadeWithoutABackend() throws Exception {
    Class<?> model = without.loadClass(Nd4jModel.class.getName());
    assertEquals("Nd4jModel[m, 0 tensors]", model.getMethod("of", String.class, Map.class).invoke(null, "m", Map.of()).toString());
  }

  /** Defines every class anew from the usual class path, but finds no backend's service. */
  private static final class WithoutBackend extends ClassLoader {
    private final ClassLoader usual;

    WithoutBackend(ClassLoader usual) {
      super(getPlatformClassLoader());
      this.usual = usual;
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
      try (InputStream in = usual.getResourceAsStream(name.replace('.', '/') + ".class")) {
        if (in == null) {
          throw new ClassNotFoundException(name);
        }
        byte[] bytes = in.readAllBytes();
        return defineClass(name, bytes, 0, bytes.length);
      } catch (IOException e) {
        throw new ClassNotFoundException(name, e);
      }
    }

    @Override
    protected URL findResource(String name) {
      return isBackend(name) ? null : usual.getResource(name);
    }

    @Override
    protected Enumeration<URL> findResources(String name) throws IOException {
      return usual.getResources(isBackend(name) ? "none" : name);
    }

    private static boolean isBackend(String name) {
      return name.equals("META-INF/services/org.nd4j.linalg.factory.Nd4jBackend");
    }
  }
}
