import Tensors

/// Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) as `torch.optim.Muon` computes it by default: a
/// matrix moves along its momentum with all singular values near 1. PyTorch rounds the orthogonalization to bfloat16,
/// Swiftlet computes it in float32.
struct Muon: UpdateRule {
  private static let momentum: Float = 0.95
  private static let epsilon = 1e-7
  private static let iterations = 5
  /// The quintic a·x + b·x³ + c·x⁵, which pulls singular values toward 1.
  private static let (a, b, c): (Float, Float, Float) = (3.4445, -4.7750, 2.0315)

  /// Whether Muon updates a parameter. Embeddings and output layers look up or produce single rows, so these and
  /// everything that isn't a matrix train with AdamW.
  static func applies(to name: String, _ shape: [Int]) -> Bool {
    shape.count == 2 && !Optimizer.isEmbedding(name)
  }

  func state(for shape: [Int]) -> [StateTensor] { [StateTensor(name: "momentum_buffer", shape: shape)] }

  func update(_ weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let share = (1 - Self.momentum) * step.gradientScale
    backend.scale(state[0], by: Self.momentum)
    backend.add(gradient, scale: share, into: state[0])
    // Nesterov: the gradient enters once more.
    backend.scale(gradient, by: share)
    backend.add(state[0], scale: Self.momentum, into: gradient)
    let direction = Self.orthogonalized(gradient, on: backend)
    backend.scale(weight, by: 1 - step.learningRate * step.weightDecay)
    let (rows, columns) = (Float(weight.rows), Float(weight.columns))
    backend.add(direction, scale: -step.learningRate * max(1, rows / columns).squareRoot(), into: weight)
  }

  /// Newton and Schulz's iteration X ← aX + (bG + cG²)X with G = XXᵀ; with G = XᵀX on the right if that is smaller.
  private static func orthogonalized(_ matrix: Tensor, on backend: any Backend) -> Tensor {
    let isTall = matrix.rows > matrix.columns
    let size = min(matrix.rows, matrix.columns)
    backend.scale(matrix, by: Float(1 / max(backend.sumOfSquares(matrix).squareRoot(), epsilon)))
    var (x, next) = (matrix, backend.empty(matrix.shape, .float32))
    let gram = backend.empty([size, size], .float32)
    let polynomial = backend.empty([size, size], .float32)
    for _ in 0..<iterations {
      backend.multiply(x, transposed: isTall, x, transposed: !isTall, into: gram)
      backend.multiply(gram, gram, into: polynomial)
      backend.scale(polynomial, by: c)
      backend.add(gram, scale: b, into: polynomial)
      if isTall { backend.multiply(x, polynomial, into: next) } else { backend.multiply(polynomial, x, into: next) }
      backend.add(x, scale: a, into: next)
      swap(&x, &next)
    }
    return x
  }
}

extension Backend {
  /// Multiplies two float32 matrices, each optionally transposed.
  fileprivate func multiply(
    _ left: Tensor, transposed isLeftTransposed: Bool = false, _ right: Tensor,
    transposed isRightTransposed: Bool = false, into product: Tensor
  ) {
    let operand = leftOperand(Columns(left), transposed: isLeftTransposed)
    compute([Product([ProductTerm(operand, right, transposed: isRightTransposed)], into: Columns(product))])
  }
}
