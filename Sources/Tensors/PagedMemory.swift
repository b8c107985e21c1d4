import Diagnostics
import Essentials

/// Memory backed by a file, so that the system can page it out: what CUDA's managed memory is to bitsandbytes' paged
/// optimizers.
enum PagedMemory {
  /// Maps a new file of `byteCount` zeros in `folder`. The file is unlinked immediately, so it disappears with the
  /// process, however that ends.
  /// - Throws: `SwiftletError` if the file can't be created or the disk has no room for it.
  static func storage(byteCount: Int, in folder: String) throws(SwiftletError) -> Storage {
    let size = max(byteCount, 1)
    let path = "\(folder)/.swiftlet-paged-\(UUID().uuidString)"
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure("cannot create a file in \(folder)") }
    defer { close(descriptor) }
    unlink(path)
    // Reserves the disk space now. If the disk filled up later, writing to the mapping would kill the process.
    guard reserve(descriptor, size) else {
      throw failure("\(folder) has no room for \(byteCount) bytes of paged optimizer state")
    }
    guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), base != MAP_FAILED else {
      throw failure("cannot map \(byteCount) bytes of paged optimizer state")
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
    SwiftletError.memory("\(what); free some disk space, or choose an optimizer without paged_ in its name")
  }
}
