import Diagnostics
import Essentials
import OrderedJSON

/// Starts `swiftlet` for runs and exports, as processes of their own: they go on if the server ends, and the server goes
/// on if they do.
package actor RunProgram {
  /// A program that was started.
  package struct Job: Sendable {
    package let id: String
    /// What it does, for people.
    package let title: String
    package let words: [String]
    /// The file with what it prints.
    package let printed: URL
    /// `nil` while it runs.
    package var status: Int32?

    /// The job for a client.
    package var json: JSONValue {
      let command = (["swiftlet"] + words).map { JSONValue.string($0) }
      return [
        "id": .string(id), "title": .string(title), "command": .array(command),
        "status": status.map { .integer(Int($0)) } ?? nil, "printed": .string(tail),
      ]
    }

    /// The last lines that it printed.
    package var tail: String { RunProgram.tail(of: printed, bytes: 4096) }
  }

  private let path: String
  private var processes: [String: ChildProcess] = [:]
  /// In the order in which they were started.
  package private(set) var jobs: [Job] = []
  private var isWatching = false

  /// - Parameter path: the executable.
  package init(path: String) { self.path = path }

  /// More at once than any machine computes well.
  private static let mostProcesses = 8
  /// More than anyone looks at; the oldest are forgotten.
  private static let mostJobs = 200

  /// Starts the program.
  /// - Parameters:
  ///   - words: its arguments.
  ///   - directory: its working directory.
  ///   - printed: the file for what it prints, which is replaced.
  /// - Returns: the id of the job.
  /// - Throws: `APIError` if there are too many already, or `SwiftletError` if it can't be started.
  @discardableResult
  package func start(_ words: [String], title: String, in directory: URL, printed: URL) throws -> String {
    guard processes.count < Self.mostProcesses else {
      throw APIError.conflict("\(Self.mostProcesses) programs run already; wait until one has ended.")
    }
    let process: ChildProcess
    do {
      _ = try OpenFile(printed.path, O_WRONLY | O_CREAT | O_TRUNC)
      // posix_spawn can't change the folder everywhere. The shell becomes the program, so the process's number stays.
      process = try ChildProcess(
        "/bin/sh", ["-c", "cd \"$0\" && exec \"$@\"", directory.path, path] + words, output: printed.path,
        errors: printed.path, isDetached: true)
    } catch {
      throw SwiftletError.training("swiftlet can't be started: \(error)")
    }
    let id = String(UInt64.random(in: .min ... .max), radix: 36)
    processes[id] = process
    jobs.append(Job(id: id, title: title, words: words, printed: printed))
    if jobs.count > Self.mostJobs, let old = jobs.firstIndex(where: { $0.status != nil }) { jobs.remove(at: old) }
    watch()
    return id
  }

  /// Waits for a job to end.
  /// - Returns: its exit status.
  package func wait(for id: String) async throws -> Int32 {
    while let job = jobs.first(where: { $0.id == id }), job.status == nil {
      try await Task.sleep(for: .milliseconds(100))
    }
    return jobs.first { $0.id == id }?.status ?? 1
  }

  /// Ends a job.
  package func terminate(_ id: String) { processes[id]?.terminate() }

  /// The last bytes of a file of printed lines, as text; empty if it can't be read.
  static func tail(of url: URL, bytes: Int) -> String {
    guard let file = try? OpenFile(url.path), let size = fileSize(atPath: url.path) else { return "" }
    _ = try? file.seek(to: max(0, size - bytes))
    return String(decoding: (try? file.read(upTo: bytes)) ?? Data(), as: UTF8.self)
  }

  /// Notices when processes end; they would stay in the system's table otherwise.
  private func watch() {
    guard !isWatching else { return }
    isWatching = true
    Task {
      while !processes.isEmpty {
        try? await Task.sleep(for: .milliseconds(200))
        for (id, process) in processes {
          var process = process
          guard !process.isRunning() else { continue }
          processes[id] = nil
          if let index = jobs.firstIndex(where: { $0.id == id }) { jobs[index].status = process.wait().status }
        }
      }
      isWatching = false
    }
  }
}
