import OrderedJSON
import Tensors

/// Stochastic gradient descent as torch computes it.
struct SGD: UpdateRule {
  let options: SGDOptions

  func state(for shape: [Int]) -> [StateTensor] {
    options.momentum == 0 ? [] : [StateTensor(name: "momentum_buffer", shape: shape)]
  }

  func apply(to weight: Tensor, gradient: Tensor, state: [Tensor], _ step: UpdateStep, on backend: any Backend) {
    let numbers = SGDStep(
      learningRate: step.learningRate, momentum: Float(options.momentum), dampening: Float(options.dampening),
      nesterov: options.nesterov, weightDecay: step.weightDecay, gradientScale: step.gradientScale,
      isFirst: step.number == 1)
    backend.sgd(weight, gradient: gradient, buffer: state.first, numbers)
  }
}

/// What `optim_args` may say of gradient descent.
public struct SGDOptions: Sendable, Hashable {
  /// What is kept of the moving sum of gradients.
  public var momentum = 0.0
  /// The share of a gradient that does not enter the sum.
  public var dampening = 0.0
  /// Whether a step looks ahead.
  public var nesterov = false

  /// Plain gradient descent.
  public init() {}
}

extension SGDOptions: RecipeConvertible {
  static var expectation: String { "settings of sgd, as momentum=0.9, dampening=0, nesterov=true" }
  private static let keys = ["momentum", "dampening", "nesterov"]

  /// transformers takes one text of `key=value`s; a mapping works as well.
  init(_ value: RecipeValue) throws(RecipeValueError) {
    let members = try RecipeMembers(try Self.mapping(value), allowed: Self.keys, expected: Self.expectation)
    self.init()
    momentum = try members.optional("momentum") ?? 0
    dampening = try members.optional("dampening") ?? 0
    nesterov = try members.optional("nesterov") ?? false
    for number in [momentum, dampening] where !(0..<1).contains(number) {
      throw RecipeValueError(reason: "holds \(number), but should hold 0 to below 1")
    }
    if nesterov, momentum == 0 || dampening != 0 {
      throw RecipeValueError(reason: "asks for nesterov, which needs a momentum and no dampening")
    }
  }

  private static func mapping(_ value: RecipeValue) throws(RecipeValueError) -> RecipeValue {
    guard case .scalar(let text, _) = value else { return value }
    var members: [(key: String, value: RecipeValue)] = []
    for part in text.filter({ $0 != " " }).split(separator: ",") {
      let sides = part.split(separator: "=", omittingEmptySubsequences: false)
      guard sides.count == 2 else { throw .mismatch(value, expected: Self.expectation) }
      members.append((String(sides[0]), .scalar(String(sides[1]), isQuoted: false)))
    }
    return .mapping(members)
  }

  var json: JSONValue {
    var object = JSONObject()
    object["momentum"] = momentum.json
    object["dampening"] = dampening.json
    object["nesterov"] = nesterov.json
    return .object(object)
  }
}
