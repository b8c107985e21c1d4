/// Heads whose dimension isn't a multiple of 8, which the attention kernels need. Zeros at the end of each head change
/// neither scores nor outputs.
struct PaddedHeads {
  /// The shape with padded heads.
  let shape: AttentionShape
  private let headDim: Int

  /// `nil` if no padding is needed.
  init?(_ shape: AttentionShape) {
    guard shape.headDim % 8 != 0 else { return nil }
    headDim = shape.headDim
    var padded = shape
    padded.headDim = shape.paddedHeadDim
    self.shape = padded
  }

  /// The number of heads in a joined q, k, v matrix.
  var allHeads: Int { shape.attentionHeads + 2 * shape.keyValueHeads }

  func pad(_ x: Tensor, _ heads: Int, on backend: CPUBackend) -> Tensor {
    let padded = backend.empty([x.rows, heads * shape.headDim])
    backend.clear(padded)
    copy(x, headDim, to: padded, shape.headDim, heads, on: backend)
    return padded
  }

  func unpad(_ x: Tensor, _ heads: Int, on backend: CPUBackend) -> Tensor {
    let result = backend.empty([x.rows, heads * headDim])
    copy(x, shape.headDim, to: result, headDim, heads, on: backend)
    return result
  }

  private func copy(_ from: Tensor, _ fromDim: Int, to: Tensor, _ toDim: Int, _ heads: Int, on backend: CPUBackend) {
    for head in 0..<heads {
      let (first, target) = (head * fromDim, head * toDim)
      backend.copyRows(
        Columns(from, first..<first + headDim), 0, to: Columns(to, target..<target + headDim), 0, count: from.rows)
    }
  }
}
