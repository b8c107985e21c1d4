import Essentials

/// The magnitudes of a linear layer's weight rows, trained apart from their directions (DoRA, arXiv:2402.09353):
/// y = m / ‖W + scale · B A‖ · (W + scale · B A) x. The norms count as constants in the gradient.
public final class Magnitude {
  /// `[out]`
  public let parameter: Parameter
  /// ‖w‖² of each row of the layer's own weight.
  private let squares: [Double]
  private var factors: Factors?

  /// Magnitudes for a layer with this weight.
  public init(_ parameter: Parameter, weight: Tensor, on backend: any Backend) {
    self.parameter = parameter
    squares = Self.squares(weight, on: backend)
  }

  /// The norms of the rows of `weight`, which new magnitudes begin with if B A is zero.
  public static func norms(of weight: Tensor, on backend: any Backend) -> [Float] {
    squares(weight, on: backend).map { Float($0.squareRoot()) }
  }

  private static func squares(_ weight: Tensor, on backend: any Backend) -> [Double] {
    let values = backend.floats(backend.converted(weight, to: .float32))
    return (0..<weight.rows).map { row in
      values[row * weight.columns..<(row + 1) * weight.columns].reduce(0) { $0 + Double($1) * Double($1) }
    }
  }

  /// What outputs and gradients are multiplied by.
  struct Factors {
    /// m / norm, `[out]`
    let scale: Tensor
    /// 1 / norm, `[out]`
    let inverseNorm: Tensor
  }

  /// Makes the norms be computed again. Call it when A, B or the magnitudes have changed.
  public func invalidate() { factors = nil }

  /// What each row of W + scale · B A is multiplied by when it is merged.
  public func rowScales(_ update: LoRAUpdate, weight: Tensor, on backend: any Backend) -> [Float] {
    backend.floats(factors(update, weight: weight, on: backend).scale)
  }

  /// ‖w + scale b A‖² = ‖w‖² + 2 scale b · (A w) + scale² b (A Aᵀ) bᵀ, so W is passed once by A and never held as floats.
  func factors(_ update: LoRAUpdate, weight: Tensor, on backend: any Backend) -> Factors {
    if let factors { return factors }
    let (rank, out) = (update.rank, weight.rows)
    let (a, b) = (update.a.value, update.b.value)
    let left = backend.leftOperand(Columns(a), transposed: false)
    let (crossed, gram, bGram) = (
      backend.empty([rank, out], .float32), backend.empty([rank, rank], .float32),
      backend.empty([out, rank], .float32)
    )
    backend.compute([
      Product([ProductTerm(left, weight, transposed: true)], into: Columns(crossed)),
      Product([ProductTerm(left, a, transposed: true)], into: Columns(gram)),
    ])
    let leftB = backend.leftOperand(Columns(b), transposed: false)
    backend.compute([Product([ProductTerm(leftB, gram, transposed: false)], into: Columns(bGram))])
    let values = backend.floats([crossed, bGram, b, parameter.value])
    let scale = Double(update.scale)
    let norms = (0..<out).map { row in
      var sum = squares[row]
      for index in 0..<rank {
        let factor = scale * Double(values[2][row * rank + index])
        sum += factor * (2 * Double(values[0][index * out + row]) + scale * Double(values[1][row * rank + index]))
      }
      return max(sum, .leastNormalMagnitude).squareRoot()
    }
    let found = Factors(
      scale: backend.tensor(zip(values[3], norms).map { Float(Double($0) / $1) }, [out]),
      inverseNorm: backend.tensor(norms.map { Float(1 / $0) }, [out]))
    factors = found
    return found
  }
}

extension Backend {
  /// Multiplies column j of `x` by factors[j], in a new tensor: an RMS norm whose inverse root mean squares are 1.
  func scaledColumns(_ x: Tensor, _ factors: Tensor) -> Tensor {
    recomputedRMSNorm(x, weight: factors, offset: 0, inverseRMS: ones(x.rows))
  }

  /// The sums of each column of x · y, `[columns]`.
  func columnProducts(_ x: Tensor, _ y: Tensor) -> Tensor {
    let sums = empty([x.columns], .float32)
    clear(sums)
    rmsNormWeightGradient(x, inverseRMS: ones(x.rows), dOut: y, into: sums)
    return sums
  }

  private func ones(_ count: Int) -> Tensor { tensor([Float](repeating: 1, count: count), [count]) }
}
