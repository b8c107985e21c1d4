/// A lock on a file that a process holds until it ends, however it ends. Others can tell whether it is held, and by whom.
package final class ProcessLock: Sendable {
  private let file: OpenFile

  /// Takes the lock; `nil` if another process holds it, or the file can't be created.
  package init?(_ path: String) {
    guard let file = try? OpenFile(path, O_RDWR | O_CREAT) else { return nil }
    var lock = Self.whole(F_WRLCK)
    guard fcntl(file.descriptor, F_SETLK, &lock) == 0 else { return nil }
    self.file = file
  }

  /// The number of the process that holds the lock; `nil` if none does, and 0 if it runs where its number says nothing.
  package static func holder(of path: String) -> pid_t? {
    // Closing any descriptor of the file would release a lock of this process.
    guard let file = try? OpenFile(path, O_RDONLY) else { return nil }
    var lock = whole(F_RDLCK)
    guard fcntl(file.descriptor, F_GETLK, &lock) == 0, lock.l_type != Int16(F_UNLCK) else { return nil }
    return max(0, lock.l_pid)
  }

  private static func whole(_ type: Int32) -> flock {
    var lock = flock()
    lock.l_type = Int16(type)
    lock.l_whence = Int16(SEEK_SET)
    return lock
  }
}
