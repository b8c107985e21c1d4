/// The executable of the running program.
package enum ProgramFile {
  /// Its path; `nil` if the system doesn't tell.
  package static var path: String? {
    #if canImport(Darwin)
      var count: UInt32 = 0
      _NSGetExecutablePath(nil, &count)
      var bytes = [CChar](repeating: 0, count: Int(count) + 1)
      guard _NSGetExecutablePath(&bytes, &count) == 0 else { return nil }
      return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    #else
      return try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    #endif
  }
}

extension FileManager {
  /// Whether there is a folder at `path`, also through a symbolic link.
  package func isFolder(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}

extension String {
  /// The path with `~` at its start replaced by `$HOME`.
  package var expandingTilde: String {
    guard self == "~" || hasPrefix("~/"), let home = ProcessInfo.processInfo.environment["HOME"], !home.isEmpty else {
      return self
    }
    return home + dropFirst()
  }

  /// The path with `$HOME` at its start replaced by `~`.
  package var abbreviatingHome: String {
    guard let home = ProcessInfo.processInfo.environment["HOME"], home.count > 1, self == home || hasPrefix(home + "/")
    else { return self }
    return "~" + dropFirst(home.count)
  }
}

/// Paths in files that people publish.
package enum PublicPath {
  /// `target` relative to `folder`, both absolute; `nil` if that would spell out the home directory, or, unless the user
  /// gave a relative path, lead through the root of the file system.
  package static func relative(_ target: String, to folder: String, wasRelative: Bool) -> String? {
    let target = URL(fileURLWithPath: target).standardizedFileURL.path.split(separator: "/")
    let start = URL(fileURLWithPath: folder).standardizedFileURL.path.split(separator: "/")
    let home = ProcessInfo.processInfo.environment["HOME"]?.split(separator: "/") ?? []
    let shared = zip(target, start).prefix { $0 == $1 }.count
    if shared < home.count, target.starts(with: home) { return nil }
    if shared == 0, !wasRelative { return nil }
    let steps = Array(repeating: "..", count: start.count - shared) + target[shared...].map(String.init)
    return steps.isEmpty ? "." : steps.joined(separator: "/")
  }

  /// Whether a shared folder is the root, or the home directory or above it, so that it is no project of its own.
  package static func isSharedByAll(_ folder: [Substring]) -> Bool {
    (ProcessInfo.processInfo.environment["HOME"]?.split(separator: "/") ?? []).starts(with: folder)
  }
}

extension FileManager {
  /// Calls `body` with the path of everything below `folder`, relative to `folder`, without following symbolic links.
  /// Stops when `body` throws. Folders that cannot be read count as empty.
  package func forEachPath<Failure: Error>(
    in folder: String, _ body: (String) throws(Failure) -> Void
  ) throws(Failure) {
    var folders = [""]
    while let place = folders.popLast() {
      for name in (try? contentsOfDirectory(atPath: folder + "/" + place)) ?? [] {
        let path = place.isEmpty ? name : place + "/" + name
        try body(path)
        var status = stat()
        if lstat(folder + "/" + path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { folders.append(path) }
      }
    }
  }
}
