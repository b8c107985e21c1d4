import Diagnostics
import Essentials

/// Memory that lies in a file, so that the system can write it out and take its place for something else.
enum PagedMemory {
  /// `byteCount` zeros over a file in `folder`. The file loses its name at once: nothing is left behind, however the
  /// process ends.
  static func storage(byteCount: Int, in folder: String) throws(SwiftletError) -> Storage {
    let size = max(byteCount, 1)
    let path = "\(folder)/.swiftlet-paged-\(UUID().uuidString)"
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("cannot make a file in \(folder)") }
    defer { close(descriptor) }
    unlink(path)
    // Room is taken now: where the disk fills up later, writing to the map would end the process.
    guard reserve(descriptor, size) else {
      throw failure("\(folder) has no room for \(byteCount) bytes of a paged optimizer's state")
    }
    guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
      throw failure("\(byteCount) bytes of a paged optimizer's state cannot be mapped")
    }
    return Storage(base: base, byteCount: size) { base, size in munmap(base, size) }
  }

  private static func reserve(_ descriptor: Int32, _ size: Int) -> Bool {
    #if canImport(Darwin)
      ftruncate(descriptor, off_t(size)) == 0
    #else
      posix_fallocate(descriptor, 0, off_t(size)) == 0
    #endif
  }

  private static func failure(_ what: String) -> SwiftletError {
    SwiftletError.memory("\(what); free some disk space or take an optimizer without paged_ in its name")
  }
}
