import ArgumentParser
import Diagnostics
import Essentials
import Serving
import Terminal

/// Where a server listens, and who may use it.
struct ServerOptions: ParsableArguments {
  @Option(help: "The address to listen on. Any but 127.0.0.1 and ::1 needs --api-key.")
  var host = "127.0.0.1"

  @Option(help: "The port to listen on; 0 for any free port. (default: 8080)")
  var port: Int?

  @Option(help: "The key that clients must send. (default: $SWIFTLET_API_KEY, else none)")
  var apiKey: String?

  func validate() throws {
    guard (0...65535).contains(port ?? 8080) else { throw ValidationError("--port must be from 0 to 65535") }
  }

  /// Who may use the server.
  /// - Throws: `ValidationError` if others could without a key.
  func access() throws -> AccessRules {
    var access = AccessRules()
    access.apiKey = apiKey ?? ProcessInfo.processInfo.environment["SWIFTLET_API_KEY"]
    access.isLoopback = ["127.0.0.1", "::1", "localhost"].contains(host)
    guard access.isLoopback || access.apiKey?.isEmpty == false else {
      throw ValidationError("others could use the server at \(host); protect it with --api-key")
    }
    return access
  }

  /// The path of this program, for servers that start it again.
  static func programPath() throws(SwiftletError) -> String {
    guard let path = ProgramFile.path else {
      throw SwiftletError.training("the system doesn't tell this program's path")
    }
    return path
  }

  /// Serves until a signal ends the program.
  /// - Parameters:
  ///   - handler: answers requests.
  ///   - started: called with the address once connections are accepted.
  /// - Throws: `SwiftletError` if the address can't be used; the exit status of the signal.
  func serve(_ handler: @escaping HTTPServer.Handler, started: @escaping @Sendable (_ address: String) -> Void)
    async throws
  {
    let server = HTTPServer(handler: handler)
    let (host, port) = (host, port ?? 8080)
    let name = host.contains(":") ? "[\(host)]" : host
    let serving = Task {
      try await server.run(host: host, port: port) { port in started("http://\(name):\(port)") }
    }
    let signals = StopSignals()
    defer { signals.end() }
    let watch = Task {
      while StopSignals.caught == nil { try await Task.sleep(for: .milliseconds(100)) }
      serving.cancel()
    }
    defer { watch.cancel() }
    do {
      try await serving.value
    } catch {
      throw SwiftletError.network("\(host):\(port)", "can't listen there: \(error); choose another --port")
    }
    if let signal = signals.caught { throw ExitCode(128 + signal) }
  }
}
