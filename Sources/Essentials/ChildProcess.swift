/// A child process whose input comes from a file and whose output goes to files.
package struct ChildProcess: Sendable {
  private let path: String
  /// The process's number.
  package let number: pid_t
  /// The status from `waitpid`; `nil` while the program runs.
  private var status: Int32?

  /// Starts the program at `path`.
  /// - Parameters:
  ///   - input: the file that it reads.
  ///   - output: the existing file that it writes to; `errors` likewise.
  ///   - environment: its variables; `nil` passes on this process's.
  ///   - isDetached: whether it gets a process group of its own, so that Ctrl-C and a closed terminal don't reach it.
  package init(
    _ path: String, _ arguments: [String], input: String = "/dev/null", output: String, errors: String,
    environment: [String: String]? = nil, isDetached: Bool = false
  ) throws(FileFailure) {
    #if canImport(Darwin)
      var actions: posix_spawn_file_actions_t?
      var attributes: posix_spawnattr_t?
    #else
      var actions = posix_spawn_file_actions_t()
      var attributes = posix_spawnattr_t()
    #endif
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    if isDetached { posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP)) }
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors, O_WRONLY, 0)
    let variables = (environment ?? ProcessInfo.processInfo.environment).map { "\($0.key)=\($0.value)" }
    var number = pid_t()
    let code = Self.withCStrings([path] + arguments) { words in
      Self.withCStrings(variables) { posix_spawn(&number, path, &actions, &attributes, words, $0) }
    }
    if code != 0 { throw FileFailure(path, code: code) }
    self.path = path
    self.number = number
  }

  /// Whether the program has not ended yet.
  package mutating func isRunning() -> Bool {
    if status == nil { updateStatus(WNOHANG) }
    return status == nil
  }

  /// Waits until the program ends.
  /// - Returns: its exit status, or 128 plus the number of the signal that killed it; and whether one did.
  package mutating func wait() -> (status: Int32, wasKilled: Bool) {
    while status == nil { updateStatus(0) }
    // The exit status is in the second byte, a signal's number in the seven bits below it.
    let status = status ?? 0
    return status & 0x7f == 0 ? (status >> 8 & 0xff, false) : (128 + status & 0x7f, true)
  }

  /// Sends the program `SIGTERM`.
  package func terminate() { kill(number, SIGTERM) }

  private mutating func updateStatus(_ options: Int32) {
    var status: Int32 = 0
    let found = waitpid(number, &status, options)
    if found == number { self.status = status }
    // Its status is lost if something else has waited for it; then it counts as failed.
    if found < 0, errno != EINTR { self.status = 1 << 8 }
  }

  /// Calls `body` with an array of C strings that ends in `nil`.
  private static func withCStrings<Value>(
    _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Value
  ) -> Value {
    var pointers = strings.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeMutableBufferPointer { buffer in
      // Not empty: it ends in nil.
      guard let first = buffer.baseAddress else { preconditionFailure("an array of C strings is never empty") }
      return body(first)
    }
  }
}

/// Threads outside Swift's cooperative thread pool.
package enum SystemThread {
  /// Runs `body` on a new thread. For work that blocks, which would stall Swift's cooperative thread pool.
  package static func start(_ body: @escaping @Sendable () -> Void) {
    let context = Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    #if canImport(Darwin)
      var thread: pthread_t?
      let status = pthread_create(
        &thread, &attributes,
        { context in
          Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
          return nil
        }, context)
    #else
      var thread = pthread_t()
      let status = pthread_create(
        &thread, &attributes,
        { context in
          guard let context else { return nil }
          Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body()
          return nil
        }, context)
    #endif
    // Without a new thread, it runs on this one.
    if status != 0 { Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue().body() }
  }
}

private final class ThreadBody: Sendable {
  let body: @Sendable () -> Void
  init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}
