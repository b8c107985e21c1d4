/// Products on matrix units: float16 operands, float32 sums.
///
/// float16 has a narrow range: gradients of 1e-9 would underflow. So float32 operands are packed with a scale per row:
/// the power of two that brings the row's largest element just below the end of the range. The product is divided by
/// the scales. Stored weights are converted without scaling.
extension VulkanBackend {
  /// Whether the device has matrix units; they compute such products in float16.
  public var multipliesBFloat16: Bool { information.hasMatrixUnits }

  /// Elements from one packed row to the next: the depth, rounded up to whole matrices.
  private func packedStride(_ depth: Int) -> Int { (depth + 15) / 16 * 16 }

  /// Packs `source`, `[rows, depth]` or its transpose, as float16 rows, followed by the scale of each row.
  func packed(_ source: Columns, transposed: Bool, needsBarrier: Bool = true) -> Tensor {
    let (rows, depth) = transposed ? (source.count, source.rows) : (source.rows, source.count)
    let stride = packedStride(depth)
    let packed = allocate([rows * stride / 2 + rows])
    let arguments = PackArguments(
      x: address(source), out: address(packed), scales: address(packed) + UInt64(2 * rows * stride),
      rows: UInt32(rows), depth: UInt32(depth), stride: UInt32(source.tensor.columns), outStride: UInt32(stride))
    if transposed {
      device.run("packColumns", arguments, groupCount: groups(rows, of: 16), needsBarrier: needsBarrier)
    } else {
      device.run("packRows", arguments, groupCount: rows, needsBarrier: needsBarrier)
    }
    return packed
  }

  func matrixTermArguments(_ term: DeviceTerm) -> MatrixTermArguments {
    let left = term.term.left
    let stride = packedStride(left.depth)
    func scales(_ packed: Tensor?, rows: Int) -> UInt64 {
      packed == nil ? 0 : address(packed) + UInt64(2 * rows * stride)
    }
    let columns = term.term.transposed ? term.right.rows : term.right.columns
    return MatrixTermArguments(
      left: address(left.packed), leftScales: scales(left.packed, rows: left.rows),
      packedRight: address(term.packedRight), rightScales: scales(term.packedRight, rows: columns),
      right: matrix(term.right), k: UInt32(left.depth), stride: UInt32(stride),
      flags: (term.term.transposed ? 2 : 0) | (term.packedRight == nil ? 0 : 8))
  }

  struct MatrixTermArguments: BitwiseCopyable {
    var left, leftScales, packedRight, rightScales: UInt64
    var right: MatrixArguments
    var k, stride, flags: UInt32
    var reserved: UInt32 = 0
  }

  private struct PackArguments: BitwiseCopyable {
    var x, out, scales: UInt64
    var rows, depth, stride, outStride: UInt32
  }
}
