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
