package io.portllm.io.write;

import io.portllm.io.internal.write.Disk;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A disk that loses power before one of its operations. It keeps account of what is surely on the platter: the bytes of a file as they were
 * when it was forced, and the names in a folder as they were when that was. Anything since then may be there or not: a write in part, a name
 * without the bytes of its file, a rename without an earlier one.
 */
final class LossyDisk implements Disk {
  /** A file or folder, whatever it is called. */
  private static final class Node {
    private final boolean folder;
    private Map<String, Node> names = new TreeMap<>();
    private final List<Change> unsynced = new ArrayList<>();
    private Map<String, Node> safeNames = new TreeMap<>();
    private byte[] bytes = {};
    private byte[] safeBytes = {};

    Node(boolean folder) {
      this.folder = folder;
    }
  }

  /** One step in a folder: a name goes, a name comes. */
  private record Change(String gone, String come, Node node) {
    void applyTo(Map<String, Node> names) {
      if (gone != null) {
        names.remove(gone);
      }
      if (come != null) {
        names.put(come, node);
      }
    }
  }

  private final Path root;
  private final Node tree;
  private int last;
  private int operations;
  private int death = Integer.MAX_VALUE;

  /** The tree below {@code root}, which is safe as it is; operation number {@code last} is not done, nor any after it. */
  LossyDisk(Path root, int last) throws IOException {
    this.root = root;
    this.last = last;
    this.tree = load(root);
  }

  private static Node load(Path path) throws IOException {
    Node node = new Node(Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS));
    if (node.folder) {
      try (Stream<Path> entries = Files.list(path)) {
        for (Path entry : entries.toList()) {
          node.names.put(entry.getFileName().toString(), load(entry));
        }
      }
      node.safeNames.putAll(node.names);
    } else {
      node.bytes = Files.readAllBytes(path);
      node.safeBytes = node.bytes;
    }
    return node;
  }

  /** Whether the power went. */
  boolean wasCut() {
    return operations > last;
  }

  /**
   * Makes what may be found after the power came back.
   *
   * @param chance how likely each step that was not synced is to be there: 0 for none, 1 for all
   */
  Path image(Path to, double chance, Random random) throws IOException {
    image(tree, to, chance, random);
    return to;
  }

  private static void image(Node node, Path to, double chance, Random random) throws IOException {
    if (!node.folder) {
      Files.write(to, torn(node, chance, random));
      return;
    }
    Files.createDirectories(to);
    Map<String, Node> names = new HashMap<>(node.safeNames);
    for (Change change : node.unsynced) {
      if (random.nextDouble() < chance) {
        change.applyTo(names);
      }
    }
    for (Map.Entry<String, Node> entry : names.entrySet()) {
      image(entry.getValue(), to.resolve(entry.getKey()), chance, random);
    }
  }

  /** The safe bytes, or more of the file's length with its bytes or zeros in runs. */
  private static byte[] torn(Node file, double chance, Random random) {
    if (Arrays.equals(file.bytes, file.safeBytes) || random.nextDouble() >= chance) {
      return file.safeBytes;
    }
    byte[] found = Arrays.copyOf(file.bytes, random.nextInt(file.bytes.length + 1));
    for (int start = 0; start < found.length; start += 512) {
      if (random.nextDouble() >= chance) {
        Arrays.fill(found, start, Math.min(found.length, start + 512), (byte) 0);
      }
    }
    return found;
  }

  /** From now on, so many operations are done before the power goes. */
  void cutAfter(int count) {
    operations = 0;
    last = count;
  }

  /** From now on, so many operations are done before the process dies, which loses nothing. */
  void dieAfter(int count) {
    death = count;
  }

  private void count() {
    if (death-- <= 0 || operations++ >= last) {
      death = 0;
      throw new FaultyDisk.Halt();
    }
  }

  private Node at(Path path) {
    Node node = tree;
    for (Path name : root.relativize(path)) {
      node = name.toString().isEmpty() ? node : node.names.get(name.toString());
    }
    return node;
  }

  private void change(Path path, String gone, String come, Node node) {
    Node folder = at(path.getParent());
    Change change = new Change(gone, come, node);
    change.applyTo(folder.names);
    folder.unsynced.add(change);
  }

  @Override
  public synchronized Sink create(Path file) throws IOException {
    count();
    Sink sink = Disk.REAL.create(file);
    Node node = new Node(false);
    change(file, null, file.getFileName().toString(), node);
    return new Sink() {
      @Override
      public int write(ByteBuffer bytes, long position) throws IOException {
        count();
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        node.bytes = Arrays.copyOf(node.bytes, (int) Math.max(node.bytes.length, position + copy.length));
        System.arraycopy(copy, 0, node.bytes, (int) position, copy.length);
        int done = 0;
        while (bytes.hasRemaining()) {
          done += sink.write(bytes, position + done);
        }
        return done;
      }

      @Override
      public void force() {
        count();
        node.safeBytes = node.bytes;
      }

      @Override
      public void close() throws IOException {
        sink.close();
      }
    };
  }

  @Override
  public FileChannel openLock(Path file) throws IOException {
    count();
    boolean isNew = !Files.exists(file, LinkOption.NOFOLLOW_LINKS);
    FileChannel channel = Disk.REAL.openLock(file);
    if (isNew) {
      change(file, null, file.getFileName().toString(), new Node(false));
    }
    return channel;
  }

  @Override
  public void createFolder(Path folder) throws IOException {
    count();
    Disk.REAL.createFolder(folder);
    change(folder, null, folder.getFileName().toString(), new Node(true));
  }

  @Override
  public void move(Path from, Path to) throws IOException {
    count();
    Node node = at(from);
    Disk.REAL.move(from, to);
    if (from.getParent().equals(to.getParent())) {
      // Such a rename is done whole or not at all.
      change(from, from.getFileName().toString(), to.getFileName().toString(), node);
    } else {
      // Each folder may have been synced without the other: the file may then be in both, or in neither.
      change(to, null, to.getFileName().toString(), node);
      change(from, from.getFileName().toString(), null, null);
    }
  }

  @Override
  public void delete(Path path) throws IOException {
    count();
    Disk.REAL.delete(path);
    change(path, path.getFileName().toString(), null, null);
  }

  @Override
  public void forceFolder(Path folder) {
    count();
    Node node = at(folder);
    node.safeNames = new TreeMap<>(node.names);
    node.unsynced.clear();
  }

  @Override
  public long room(Path folder) {
    count();
    return Long.MAX_VALUE;
  }
}
