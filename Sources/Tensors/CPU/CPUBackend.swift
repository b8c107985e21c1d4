import CKernels
import Diagnostics
import Synchronization

/// Computes on the processor: C kernels for its instruction set, run by a thread pool.
public final class CPUBackend: Backend {
  let pool: ThreadPool
  let buffers = BufferPool()

  /// Creates a backend with its own threads: `threads` of them, by default ``ThreadCount/automatic``, but at most as
  /// many as `processors`.
  public init(threads: Int? = nil, processors: Int = ThreadCount.processors) {
    pool = ThreadPool(threadCount: threads, processors: processors)
  }

  /// The number of threads that compute, including the caller's.
  public var threadCount: Int { pool.threadCount }

  /// Takes a buffer from the pool, which reuses the memory of released tensors.
  public func empty(_ shape: [Int], _ type: ElementType) -> Tensor {
    let count = shape.reduce(1, *)
    let byteCount = (count + type.blockLength - 1) / type.blockLength * type.blockByteCount
    return Tensor(type: type, shape: shape, storage: buffers.storage(byteCount: byteCount))
  }

  /// Allocates a float32 tensor with undefined elements.
  func empty(_ shape: [Int]) -> Tensor { empty(shape, .float32) }

  /// Copies the values to a pooled buffer.
  public func tensor(_ values: [Float], _ shape: [Int]) -> Tensor {
    let result = empty(shape)
    precondition(result.count == values.count, "the shape must have as many elements as there are values")
    result.pointer(Float.self).update(from: values, count: values.count)
    return result
  }

  /// Copies the values to a pooled buffer.
  public func tensor(_ values: [Int32]) -> Tensor {
    let result = empty([values.count], .int32)
    result.pointer(Int32.self).update(from: values, count: values.count)
    return result
  }

  /// Copies bytes to a uint8 tensor.
  public func tensor(bytes: [UInt8]) -> Tensor {
    let result = empty([bytes.count], .uint8)
    result.pointer(UInt8.self).update(from: bytes, count: bytes.count)
    return result
  }

  /// Returns the tensor itself, since this backend computes in host memory.
  public func resident(_ tensor: Tensor) -> Tensor { tensor }

  /// Converts one tensor after the other; there is no device to wait for.
  public func floats(_ tensors: [Tensor]) -> [[Float]] { tensors.map { floats($0) } }

  /// Copies the elements to an array, converted to float32 by all threads.
  public func floats(_ tensor: Tensor) -> [Float] {
    let wide = tensor.type == .float32 ? tensor : float32Copy(tensor)
    return Array(UnsafeBufferPointer(start: wide.pointer(), count: wide.count))
  }

  /// Clears the bytes, 1 MB or more per task.
  public func clear(_ tensor: Tensor) {
    let bytes = tensor.storage.base + tensor.byteOffset
    pool.runRanges(tensor.byteCount, grain: 1 << 20) { range in
      (bytes + range.lowerBound).initializeMemory(as: UInt8.self, repeating: 0, count: range.count)
    }
  }

  /// Copies the bytes on the calling thread.
  public func copy(_ from: Tensor, to: Tensor) {
    precondition(from.type == to.type && from.count == to.count, "both tensors must have the same type and size")
    (to.storage.base + to.byteOffset).copyMemory(from: from.storage.base + from.byteOffset, byteCount: from.byteCount)
  }

  private func float32Copy(_ tensor: Tensor) -> Tensor {
    let result = empty(tensor.shape)
    let out: UnsafeMutablePointer<Float> = result.pointer()
    guard let matrix = tensor.matrix else {
      convertNumbers(tensor, out)
      return result
    }
    pool.runRanges(matrix.rows, grain: max(1, 4096 / max(1, matrix.columns))) { range in
      withUnsafePointer(to: matrix) { matrix in
        for row in range {
          ck_dequantize(matrix, row, 0, matrix.pointee.columns, out + row * matrix.pointee.columns)
        }
      }
    }
    return result
  }

  /// Converts the types that kernels can't read. They occur in files, not as weights.
  private func convertNumbers(_ tensor: Tensor, _ out: UnsafeMutablePointer<Float>) {
    func convert<Element>(_: Element.Type, _ value: (Element) -> Float) {
      let source = tensor.pointer(Element.self)
      for i in 0..<tensor.count { out[i] = value(source[i]) }
    }
    switch tensor.type {
    case .float64: convert(Double.self) { Float($0) }
    case .int64: convert(Int64.self) { Float($0) }
    case .int32: convert(Int32.self) { Float($0) }
    case .uint32: convert(UInt32.self) { Float($0) }
    case .int16: convert(Int16.self) { Float($0) }
    case .int8: convert(Int8.self) { Float($0) }
    default: convert(UInt8.self) { Float($0) }
    }
  }

  /// Converts ranges of elements, or whole blocks, in parallel; types other than float32 are converted via float32.
  public func converted(_ tensor: Tensor, to type: ElementType) -> Tensor {
    if type == .float32 { return float32Copy(tensor) }
    let wide = tensor.type == .float32 ? tensor : float32Copy(tensor)
    let result = empty(tensor.shape, type)
    let source: UnsafeMutablePointer<Float> = wide.pointer()
    if type.isQuantized {
      convertBlocks(source, wide.count, to: result)
      return result
    }
    precondition(type == .float16 || type == .bfloat16, "tensors are converted to 16-bit floats or blocks only")
    let target = result.pointer(UInt16.self)
    pool.runRanges(wide.count, grain: 1 << 16) { range in
      let count = range.count
      if type == .float16 {
        ck_convert_float16(source + range.lowerBound, target + range.lowerBound, count)
      } else {
        ck_convert_bfloat16(source + range.lowerBound, target + range.lowerBound, count)
      }
    }
    return result
  }

  private func convertBlocks(_ source: UnsafeMutablePointer<Float>, _ count: Int, to result: Tensor) {
    let quantize: (UnsafePointer<Float>?, UnsafeMutablePointer<UInt8>?, Int) -> Void
    switch result.type {
    case .q8_0: quantize = ck_quantize_q8_0
    case .q4_0: quantize = ck_quantize_q4_0
    case .q5_0: quantize = ck_quantize_q5_0
    case .q4_K: quantize = ck_quantize_q4_K
    case .q6_K: quantize = ck_quantize_q6_K
    default: preconditionFailure("tensors are not quantized to \(result.type)")
    }
    precondition(result.columns % result.type.blockLength == 0, "rows must consist of whole blocks")
    let target = result.pointer(UInt8.self)
    pool.runRanges(count / result.type.blockLength, grain: (1 << 16) / result.type.blockLength) { range in
      let from = source + range.lowerBound * result.type.blockLength
      let to = target + range.lowerBound * result.type.blockByteCount
      quantize(from, to, range.count)
    }
  }

  /// Copies the rows on the calling thread. Not for types with scales apart.
  public func permutedRows(_ tensor: Tensor, _ order: [Int]) -> Tensor {
    precondition(!tensor.type.hasScales, "scales would have to move with the rows")
    let rowBytes = tensor.byteCount / max(1, tensor.rows)
    let result = empty([order.count] + tensor.shape.dropFirst(), tensor.type)
    let from = tensor.storage.base + tensor.byteOffset
    let to = result.storage.base + result.byteOffset
    for (index, row) in order.enumerated() {
      precondition((0..<tensor.rows).contains(row), "the order must consist of row numbers")
      (to + index * rowBytes).copyMemory(from: from + row * rowBytes, byteCount: rowBytes)
    }
    return result
  }

  /// Copies the rows on the calling thread.
  public func copyRows(_ from: Columns, _ fromRow: Int, to: Columns, _ toRow: Int, count: Int) {
    precondition(from.count == to.count && fromRow + count <= from.rows && toRow + count <= to.rows)
    for row in 0..<count {
      let source = from.pointer + (fromRow + row) * from.stride
      (to.pointer + (toRow + row) * to.stride).update(from: source, count: from.count)
    }
  }

  /// Dequantizes the requested rows in parallel.
  public func gatherRows(_ tensor: Tensor, _ rows: [Int32]) -> Tensor {
    let columns = tensor.columns
    let result = empty([rows.count, columns])
    let out: UnsafeMutablePointer<Float> = result.pointer()
    guard let matrix = tensor.matrix else { preconditionFailure("\(tensor.type) can't be read by kernels") }
    pool.runRanges(rows.count, grain: max(1, 8192 / max(1, columns))) { range in
      withUnsafePointer(to: matrix) { matrix in
        for i in range {
          precondition(rows[i] >= 0 && Int(rows[i]) < matrix.pointee.rows, "row \(rows[i]) doesn't exist")
          ck_dequantize(matrix, Int(rows[i]), 0, columns, out + i * columns)
        }
      }
    }
    return result
  }

  /// Each task adds a range of columns, so repeated rows are added in order.
  public func scatterAddRows(_ from: Tensor, _ rows: [Int32], into: Tensor) {
    let columns = from.columns
    let source: UnsafeMutablePointer<Float> = from.pointer()
    let target: UnsafeMutablePointer<Float> = into.pointer()
    // Divided by columns, not rows: a row may occur twice, and its contributions must be added in order.
    pool.runRanges(columns, grain: 64) { range in
      for (i, row) in rows.enumerated() {
        ck_add(target + Int(row) * columns, source + i * columns, 1, range.lowerBound, range.upperBound)
      }
    }
  }

  /// The use of the buffer pool. Memory-mapped weights are not part of it.
  public var memoryStatistics: (inUse: Int, peak: Int) { buffers.statistics }

  /// Always `nil`: tensors are in host memory.
  public var availableMemory: Int? { nil }

  /// Does nothing: operations return when they are done.
  public func finish() throws(SwiftletError) {}

  /// Never throws: a processor doesn't fail as a device can.
  public func check() throws(SwiftletError) {}
}

extension Columns {
  /// The address of the first selected element.
  var pointer: UnsafeMutablePointer<Float> { tensor.pointer(Float.self) + offset }
  /// The number of elements from one row to the next.
  var stride: Int { tensor.columns }
}

extension CPUBackend {
  /// The default backend of the process.
  public static let shared = CPUBackend(threads: sharedThreads.withLock { $0 })

  private static let sharedThreads = Mutex<Int?>(nil)

  /// Sets the number of threads of ``shared``, which is created by its first use; later calls have no effect.
  public static func useThreads(_ count: Int) { sharedThreads.withLock { $0 = count } }

  /// Sets the number of threads of ``shared`` unless `useThreads` has been called.
  public static func useThreadsByDefault(_ count: Int) { sharedThreads.withLock { $0 = $0 ?? count } }
}
