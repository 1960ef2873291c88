package io.portllm.samples.springboot;

import io.portllm.IncompatibleModelException;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import org.springframework.http.HttpStatus;
import org.springframework.http.MediaType;
import org.springframework.http.ProblemDetail;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.ResponseStatus;
import org.springframework.web.bind.annotation.RestController;

/** HTTP: {@code GET /tenants/T/checks/M} tells whether T's adapter will work on model M, {@code POST /tenants/T/ports/M} ports it. */
@RestController
class PortController {
  private final Porter porter;

  PortController(Porter porter) {
    this.porter = porter;
  }

  @GetMapping(path = "/tenants/{tenant}/checks/{model}", produces = MediaType.APPLICATION_JSON_VALUE)
  String check(@PathVariable("tenant") String tenant, @PathVariable("model") String model) throws IOException {
    return porter.check(tenant, model);
  }

  @PostMapping("/tenants/{tenant}/ports/{model}")
  @ResponseStatus(HttpStatus.CREATED)
  Ported port(@PathVariable("tenant") String tenant, @PathVariable("model") String model) throws IOException {
    return porter.port(tenant, model);
  }

  @ExceptionHandler
  ProblemDetail unknown(UnknownNameException e) {
    return ProblemDetail.forStatusAndDetail(HttpStatus.NOT_FOUND, e.getMessage());
  }

  /** The message lists every mismatch. */
  @ExceptionHandler
  ProblemDetail unfit(IncompatibleModelException e) {
    return ProblemDetail.forStatusAndDetail(HttpStatus.UNPROCESSABLE_CONTENT, e.getMessage());
  }

  @ExceptionHandler
  ProblemDetail taken(FileAlreadyExistsException e) {
    return ProblemDetail.forStatusAndDetail(HttpStatus.CONFLICT, e.getMessage());
  }
}
