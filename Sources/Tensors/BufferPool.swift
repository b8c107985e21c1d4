import Synchronization

/// Host memory that is handed out, given back and handed out again, so that a training step in the steady state
/// allocates nothing and every step needs what the first one needed.
final class BufferPool: Sendable {
  private struct Shelves {
    var free: [Int: [UnsafeMutableRawPointer]] = [:]
    var bytesInUse = 0
    var bytesFree = 0
    var peakBytesInUse = 0
  }
  // The pointers on the shelves belong to nobody else, so moving them between threads is safe.
  private struct Contents: @unchecked Sendable { var shelves = Shelves() }
  private let contents = Mutex(Contents())

  /// Bytes are rounded up to one of eight sizes per power of two, so that slightly different requests share buffers.
  static func roundedSize(_ byteCount: Int) -> Int {
    let least = max(byteCount, 64)
    let step = max(64, (1 << (Int.bitWidth - 1 - least.leadingZeroBitCount)) / 8)
    return (least + step - 1) / step * step
  }

  /// A buffer of at least `byteCount` bytes, 64-byte aligned, its content undefined.
  func storage(byteCount: Int) -> Storage {
    let size = Self.roundedSize(byteCount)
    let reused: Buffer? = contents.withLock { box in
      box.shelves.bytesInUse += size
      box.shelves.peakBytesInUse = max(box.shelves.peakBytesInUse, box.shelves.bytesInUse)
      guard let pointer = box.shelves.free[size]?.popLast() else { return nil }
      box.shelves.bytesFree -= size
      return Buffer(pointer: pointer)
    }
    let base = reused?.pointer ?? UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    return Storage(base: base, byteCount: size) { [self] pointer, size in put(Buffer(pointer: pointer), size) }
  }

  private struct Buffer: @unchecked Sendable { let pointer: UnsafeMutableRawPointer }

  private func put(_ buffer: Buffer, _ size: Int) {
    contents.withLock { box in
      box.shelves.bytesInUse -= size
      box.shelves.bytesFree += size
      box.shelves.free[size, default: []].append(buffer.pointer)
    }
  }

  /// Gives what nobody uses back to the system.
  func trim() {
    contents.withLock { box in
      for pointer in box.shelves.free.values.joined() { pointer.deallocate() }
      box.shelves.free = [:]
      box.shelves.bytesFree = 0
    }
  }

  /// Bytes handed out now, and the most there ever were.
  var statistics: (inUse: Int, peak: Int) {
    contents.withLock { ($0.shelves.bytesInUse, $0.shelves.peakBytesInUse) }
  }

  deinit {
    contents.withLock { box in for pointer in box.shelves.free.values.joined() { pointer.deallocate() } }
  }
}
