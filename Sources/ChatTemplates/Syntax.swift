/// An expression with the depth of its tree. The parser limits the depth, so recursion over it is safe.
struct Expression: Sendable {
  let node: Node
  let depth: Int

  indirect enum Node: Sendable {
    case constant(Constant)
    /// A variable, by its number in `Syntax.names`.
    case name(Int)
    case tuple([Expression])
    case list([Expression])
    case dictionary([Pair])
    case negative(Expression)
    case positive(Expression)
    case not(Expression)
    case and(Expression, Expression)
    case or(Expression, Expression)
    case arithmetic(Arithmetic, Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [Comparison])
    case conditional(test: Expression, then: Expression, else: Expression?, line: Int)
    case attribute(Expression, String)
    case item(Expression, Expression)
    case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
    case call(Expression, Arguments)
    /// The operand is `nil` in `{% filter %}` and `{% set x | ... %}`, where the filter applies to the block's text.
    case filter(Expression?, String, Arguments)
    case test(Expression, String, Arguments)
  }

  enum Constant: Sendable {
    case none
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case string(String)
  }

  enum Arithmetic: String, Sendable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
    case divide = "/"
    case floorDivide = "//"
    case modulo = "%"
    case power = "**"
  }

  enum Relation: String, Sendable {
    case equal = "=="
    case unequal = "!="
    case less = "<"
    case lessOrEqual = "<="
    case greater = ">"
    case greaterOrEqual = ">="
    case contained = "in"
    case notContained = "not in"
  }

  struct Comparison: Sendable {
    let relation: Relation
    let operand: Expression
  }

  struct Pair: Sendable {
    let key: Expression
    let value: Expression
  }

  struct Arguments: Sendable {
    var positional: [Expression] = []
    var named: [(name: String, value: Expression)] = []
    /// `*list`
    var spread: Expression?
    /// `**dictionary`
    var spreadNamed: Expression?

    var all: [Expression] { positional + named.map(\.value) + [spread, spreadNamed].compactMap { $0 } }
  }
}

/// A tag or a piece of text, with its first line.
struct Statement: Sendable {
  let line: Int
  let node: Node

  indirect enum Node: Sendable {
    case text(String)
    case output(Expression)
    case assign(Target, Expression)
    case assignBlock(Target, filter: Expression?, body: Body)
    case branch([Branch], otherwise: [Statement])
    case loop(Loop)
    case macro(Int, Macro)
    case callBlock(Expression, Macro)
    case filterBlock(Expression, body: Body)
    case with([(target: Target, value: Expression)], body: Body)
    case block(String, function: Int, body: Body)
    case generation(Macro)
    case breakLoop
    case continueLoop
    /// `include`, `import` or `extends`, which fail because there are no other templates.
    case load
  }

  /// Statements with their own scope.
  struct Body: Sendable {
    let scope: Int
    let statements: [Statement]
  }

  struct Branch: Sendable {
    let line: Int
    let test: Expression
    let body: [Statement]
  }

  /// The target of an assignment.
  indirect enum Target: Sendable {
    case name(Int)
    case attribute(of: Int, String)
    case tuple([Target])
  }

  struct Loop: Sendable {
    let target: Target
    let iterable: Expression
    let test: Expression?
    let testScope: Int
    let body: Body
    let otherwise: Body?
    /// The function that `loop(...)` calls, if the loop is recursive.
    let recursiveFunction: Int?
  }

  /// A macro, or the body of a call block as the macro `caller`.
  struct Macro: Sendable {
    let name: String?
    let parameters: [Int]
    /// The default values of the last parameters.
    let defaults: [Expression]
    let function: Int
    let body: Body
  }
}

struct Syntax: Sendable {
  let body: Statement.Body
  /// The names of all variables. Expressions and targets refer to them by index.
  let names: [String]
  let scopeCount: Int
  let functionCount: Int
  let marksGeneration: Bool
  let hasBlocks: Bool
}
