import Diagnostics

extension CallArguments {
  /// The arguments in the order of `parameters`, `nil` for those not given.
  /// - Parameter required: how many of the parameters must have an argument.
  /// - Throws: for too many, unknown, duplicate and missing arguments.
  func bound(
    to parameters: [String], required: Int = 0, of function: String, _ interpreter: Interpreter
  ) throws(SwiftletError) -> [Value?] {
    if positional.count > parameters.count {
      throw interpreter.error(
        "\(function)() takes at most \(parameters.count) arguments (\(positional.count) given)")
    }
    var values: [Value?] = positional.map { $0 }
    values += Array(repeating: nil, count: parameters.count - positional.count)
    for argument in named {
      guard let place = parameters.firstIndex(of: argument.name) else {
        throw interpreter.error("\(function)() got an unexpected keyword argument '\(argument.name)'")
      }
      if values[place] != nil {
        throw interpreter.error("\(function)() got multiple values for argument '\(argument.name)'")
      }
      values[place] = argument.value
    }
    if let missing = values.prefix(required).firstIndex(where: { $0 == nil }) {
      throw interpreter.error("\(function)() missing required argument '\(parameters[missing])'")
    }
    return values
  }
}

extension Interpreter {
  /// An argument that must be an integer.
  func integer(_ value: Value?, default missing: Int, of function: String) throws(SwiftletError) -> Int {
    guard let value else { return missing }
    if case .undefined(let undefined) = value { throw error(undefined.message) }
    guard let index = value.index else {
      throw error("\(function)(): '\(value.typeName)' object cannot be interpreted as an integer")
    }
    return index
  }

  /// An argument that must be text.
  func text(_ value: Value, of function: String) throws(SwiftletError) -> String {
    guard let text = value.text else { throw error("\(function)() argument must be str, not \(value.typeName)") }
    return text
  }
}
