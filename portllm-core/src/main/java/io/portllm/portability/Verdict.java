package io.portllm.portability;

/** What to do with a patch and a new base. */
public enum Verdict {
  /** Nothing that was measured speaks against adding the patch as it is. */
  PORT,
  /** The patch is a better start than the new base alone, but is not to be used before a short tune or a test on data. */
  PORT_AND_TUNE,
  /** The patch does not fit, or the new base is not of the old one's lineage: tune the new base from scratch. */
  DO_NOT_PORT
}
