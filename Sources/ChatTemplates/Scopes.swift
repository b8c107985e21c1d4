import Diagnostics

/// The location of a variable: `hops` functions outward, at `index` of that function's variables.
struct Place: Sendable, Hashable {
  let hops: Int
  let index: Int
}

/// The variables that are visible in a scope.
struct Scope: Sendable {
  enum Entry: Sendable {
    /// From the variables of the rendering and the global functions.
    case resolve(name: Int)
    /// The current value of the name in the outer scope.
    case copy(Place)
    case undefined
  }

  /// The location of each name by number; `nil` for names that the scope does not use.
  var places: [Place?]
  /// The variables to initialize on entry.
  var entries: [(index: Int, entry: Entry)]
}

/// A function: the template itself, a macro, a call block, a recursive loop or a block.
struct Function: Sendable {
  var variableCount = 0
  /// The indices of the special variables, if the body uses them.
  var caller: Int?
  var namedRest: Int?
  var positionalRest: Int?
}

/// A parsed template with resolved names.
struct Program: Sendable {
  let syntax: Syntax
  let scopes: [Scope]
  let functions: [Function]
  /// The number of the name `loop`, if the template uses it.
  let loopName: Int?

  /// Parses a template and resolves its names.
  init(_ template: String) throws(SwiftletError) {
    let syntax = try Parser.syntax(of: template)
    if syntax.names.count * syntax.scopeCount > 4_000_000 {
      throw SwiftletError.template(line: nil, reason: "too many variables (\(syntax.names.count))")
    }
    var resolver = ScopeResolver(syntax)
    try resolver.resolve()
    self.syntax = syntax
    loopName = syntax.names.firstIndex(of: "loop")
    scopes = resolver.scopes
    functions = resolver.functions
  }
}
