package io.portllm.samples.springboot;

/** A request for a tenant or model that is not there. */
final class UnknownNameException extends RuntimeException {
  private static final long serialVersionUID = 1;

  UnknownNameException(String name) {
    super("there is no tenant or model of the name \"" + name + "\"");
  }
}
