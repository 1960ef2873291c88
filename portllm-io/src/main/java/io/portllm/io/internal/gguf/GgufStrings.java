package io.portllm.io.internal.gguf;

import io.portllm.internal.text.Names;
import io.portllm.io.MalformedModelException;
import io.portllm.io.internal.files.SourceFile;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** An array of strings in the metadata of a GGUF file, read from disk as it is gone through. Immutable; safe for use by many threads. */
public final class GgufStrings {
  /** Is given one string after the other. */
  public interface Visitor {
    /**
     * Called for each string.
     *
     * @param index its index in the array, from 0 on
     * @param bytes its bytes, by custom UTF-8 but not always
     */
    void accept(int index, byte[] bytes) throws IOException;
  }

  private final SourceFile file;
  private final String key;
  private final GgufMetadata.Value value;

  GgufStrings(SourceFile file, String key, GgufMetadata.Value value) {
    this.file = file;
    this.key = key;
    this.value = value;
  }

  /** The number of strings, at most 2^30. */
  public int size() {
    return (int) value.count();
  }

  /** Reads all strings in their order, holding one of them at a time. */
  public void forEach(Visitor visitor) throws IOException {
    Cursor cursor = new Cursor(file, value.start());
    String what = Names.quote(key);
    for (int i = 0; i < size(); i++) {
      visitor.accept(i, next(cursor, what));
    }
  }

  /**
   * All strings, held in memory.
   *
   * @throws MalformedModelException if one is not UTF-8 (GG-UTF8)
   */
  public List<String> toList() throws IOException {
    List<String> texts = new ArrayList<>();
    Cursor cursor = new Cursor(file, value.start());
    String what = Names.quote(key);
    for (int i = 0; i < size(); i++) {
      texts.add(text(cursor, next(cursor, what), what));
    }
    return texts;
  }

  /** The string at {@code cursor}. */
  static byte[] next(Cursor cursor, String what) throws IOException {
    long at = cursor.position();
    long length = cursor.length(what);
    if (length > GgufMetadata.LONGEST_STRING) {
      throw cursor.malformed(
          "GG-STRLEN", at, what + " has " + length + " bytes, more than the " + GgufMetadata.LONGEST_STRING + " that are read");
    }
    return cursor.bytes((int) length, what);
  }

  /** The text of a string that ends at {@code cursor}. */
  static String text(Cursor cursor, byte[] bytes, String what) throws MalformedModelException {
    return Cursor.utf8(bytes)
        .orElseThrow(
            () -> cursor.malformed("GG-UTF8", cursor.position() - bytes.length, what + " is not UTF-8"));
  }
}
