/// The loss, gradient norms, and the most likely tokens.
extension VulkanBackend {
  /// Runs one thread per logit.
  public func softcap(_ logits: Tensor, _ cap: Float) {
    device.operation {
      run("softcap", ElementArguments(y: address(logits), count: UInt32(logits.count), factor: cap))
    }
  }

  /// Runs one group of threads per row of logits.
  public func crossEntropy(
    _ logits: Tensor, targets: [Int32], gradientScale: Float?, softcap: Float, smoothing: Float,
    weighsByProbability: Bool, into result: Tensor
  ) {
    device.operation {
      precondition(targets.count == logits.rows && result.rows == logits.rows, "a target for each row of logits")
      precondition(targets.allSatisfy { $0 >= 0 && Int($0) < logits.columns }, "targets must be in the vocabulary")
      let ids = uploaded(targets)
      let arguments = CrossEntropyArguments(
        logits: address(logits), targets: address(ids), found: address(result), rows: UInt32(logits.rows),
        columns: UInt32(logits.columns), scale: gradientScale ?? 0, cap: softcap, smoothing: smoothing,
        gradient: gradientScale == nil ? 0 : 1, weighs: weighsByProbability ? 1 : 0)
      device.run("crossEntropy", arguments, groupCount: logits.rows)
    }
  }

  private struct CrossEntropyArguments: BitwiseCopyable {
    var logits, targets, found: UInt64
    var rows, columns: UInt32
    var scale, cap, smoothing: Float
    var gradient, weighs: UInt32
  }

  /// Sums chunks of all tensors in float32 with one kernel and adds the sums in double precision on the host.
  public func sumOfSquares(_ tensors: [Tensor]) -> Double {
    device.operation {
      let tensors = tensors.filter { $0.count > 0 }.map(uploaded)
      guard !tensors.isEmpty else { return 0 }
      let count = tensors.reduce(0) { $0 + groups($1.count, of: 16384) }
      let sums = allocate([count])
      sumSquares(of: tensors, into: sums)
      return floats(sums).reduce(0) { $0 + Double($1) }
    }
  }

  /// Sums chunks of 16,384 elements.
  /// - Parameter first: the element of `sums` for the first chunk.
  func sumSquares(of tensors: [Tensor], into sums: Tensor, first: Int = 0) {
    var count = 0
    let list = tensors.map { tensor in
      defer { count += groups(tensor.count, of: 16384) }
      return SquaredTensor(x: address(tensor), count: UInt32(tensor.count), first: UInt32(count))
    }
    let arguments = SquareArguments(
      sums: address(sums) + UInt64(4 * first), tensorCount: UInt32(tensors.count), sumCount: UInt32(count))
    list.withUnsafeBytes { device.run("sumOfSquares", arguments, list: $0, groupCount: count) }
  }

  private struct SquaredTensor: BitwiseCopyable { var x: UInt64, count, first: UInt32 }

  private struct SquareArguments: BitwiseCopyable {
    /// Replaced by the address of the tensors.
    var tensors: UInt64 = 0
    var sums: UInt64
    var tensorCount, sumCount: UInt32
  }

  /// Makes one pass over the row per element found, and waits for the device.
  public func largest(_ row: Tensor, count: Int) -> [(column: Int, value: Float)]? {
    guard count > 0, count <= min(row.count, 128) else { return nil }
    let found = device.operation {
      let found = allocate([2 * count], .int32)
      device.run(
        "largestOfRow",
        LargestArguments(
          x: address(row), columns: address(found), values: address(found) + UInt64(4 * count),
          columnCount: UInt32(row.count), count: UInt32(count)), groupCount: 1)
      return found
    }
    return found.withBytes { bytes in
      let columns = bytes.bindMemory(to: Int32.self).prefix(count)
      let values = bytes.bindMemory(to: Float.self).dropFirst(count)
      return columns.allSatisfy { $0 >= 0 } ? zip(columns, values).map { (Int($0), $1) } : nil
    }
  }

  private struct LargestArguments: BitwiseCopyable { var x, columns, values: UInt64, columnCount, count: UInt32 }
}
