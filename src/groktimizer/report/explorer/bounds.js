"use strict";
// The theorems of arXiv 2601.19791 with their conditions, as groktimizer.theory.ridge.bounds has them.
const Bounds = (() => {
  const SMALL_STEP = 0.01, SAME = 1e-9, FAILURE = 0.05;
  const log = (value) => (value > 0 ? Math.log(value) : NaN);

  const stated = (holds, condition, opposite) => ({text: holds ? condition : opposite, holds, trusted: false});
  const trusted = (text) => ({text, holds: true, trusted: true});

  function compared(name, value, limit, holds, signs) {
    const told = (digits) => [Text.general(value, digits), Text.general(limit, digits)];
    const apart = [4, 6, 9].find((digits) => told(digits)[0] !== told(digits)[1]);
    const [one, two] = told(apart ?? (holds ? 4 : 17));
    return {text: `${name} = ${one} ${signs[holds ? 0 : 1]} ${two}`, holds, trusted: false};
  }

  const atMost = (name, value, limit) => compared(name, value, limit, value <= limit * (1 + SAME), ["<=", ">"]);
  const atLeast = (name, value, limit) => compared(name, value, limit, value >= limit * (1 - SAME), [">=", "<"]);

  // What the theorems know of a problem and a setting.
  function facts(p, s) {
    const f = p.facts, square = f.initial_square * p.factor ** 2;
    return {
      n: p.n, m: p.m, lr: s.lr, decay: s.decay, epsilon: s.epsilon, c: s.c, square, teacher: f.teacher_norm,
      variance: p.unit === null ? square / p.m : s.nu ** 2, meanSquare: f.mean_square, gram: f.least_gram,
      covariance: f.least_covariance, bound: f.feature_bound, sharpness: p.curvature[0], hidden: p.size ** 2,
      misfit: f.misfit,
    };
  }

  const logFactor = (f, curvature = 0) => {
    const loss = f.lr * (curvature + f.decay);
    return loss < 1 ? Math.log1p(-loss) : NaN;
  };
  const wide = (f) => atLeast("m", f.m, f.n + 32 * Math.log(2 / FAILURE));
  const realizable = (f) => stated(f.misfit === 0, "targets are the teacher's, without noise",
    `targets are not the teacher's: root mean square difference ${Text.general(f.misfit, 4)}`);
  const startConditions = (f) => [
    atLeast("||theta0 outside the data||^2", f.hidden, Math.max(f.m - f.n, 0) * f.variance / 2),
    trusted("theta0 is drawn from N(0, nu^2 I)")];
  const decayLimit = (f) => (f.teacher > 0 ? 2 * f.epsilon / (3 * f.teacher ** 2) : Infinity);

  function decayConditions(f) {
    const root = Math.sqrt(f.meanSquare * f.epsilon / 6);
    return [realizable(f),
      atMost("weight_decay", f.decay, Math.min(decayLimit(f), f.teacher > 0 ? root / f.teacher : Infinity)),
      atMost("lr", f.lr, 1 / (f.decay + f.bound ** 2)), atLeast("||theta0||", Math.sqrt(f.square), f.teacher)];
  }

  function sampleCondition(f) {
    const need = 2048 * f.bound ** 4 * f.teacher ** 4 / f.epsilon ** 2;
    return atLeast("n", f.n, need * Math.log(4 / FAILURE));
  }

  function widthConditions(f) {
    const spread = f.variance, gram = f.covariance * f.variance;
    return [wide(f), atLeast("m", f.m, f.n + (spread > 0 ? 8 * f.teacher ** 2 / spread : Infinity)),
      atLeast("m", f.m, f.n + (gram > 0 ? 8 * f.c / gram : Infinity)), atLeast("c", f.c, f.epsilon)];
  }

  const conditions42 = (f) => [sampleCondition(f), ...decayConditions(f), ...widthConditions(f)];
  const memorisedWithin = (f, ratio) => Math.max(f.n * log(ratio) / (2 * f.lr * f.gram), 0);

  function forgetting(f) {
    if (f.covariance <= 0) return 0;
    const radius = Math.sqrt(f.c / f.covariance) + f.teacher;
    return (f.m - f.n) * f.variance / 2 / radius ** 2;
  }

  function gaussianConditions(f) {
    return [realizable(f), atLeast("m", f.m, f.n + 1),
      atMost("m * least covariance - 1", Math.abs(f.m * f.covariance - 1), SAME),
      atMost("lr * weight_decay", f.lr * f.decay, SMALL_STEP),
      atMost("|c / epsilon - 1|", Math.abs(f.c / f.epsilon - 1), SAME),
      atLeast("m", f.m, f.teacher ** 2 / f.epsilon), trusted("features are drawn from N(0, I/m)")];
  }

  const ALL = [
    function eq8Memorised(f) {
      const value = memorisedWithin(f, 14 * f.m * f.variance / f.epsilon);
      return ["Eq (8)", "t1 <=", value, [...gaussianConditions(f), atMost("weight_decay", f.decay, decayLimit(f)),
        atMost("lr", f.lr, 1 / (f.decay + f.sharpness)), atLeast("||theta0||", Math.sqrt(f.square), f.teacher),
        atMost("||theta0||^2", f.square, 14 / 9 * f.m * f.variance), atMost("b^2", f.bound ** 2, 1.5)]];
    },
    function eq8Generalised(f) {
      const found = log((f.m - f.n) * f.variance / (8 * f.m * f.epsilon));
      return ["Eq (8)", "t2 >=", found / (2.02 * f.lr * f.decay), [...gaussianConditions(f), ...startConditions(f)]];
    },
    function theorem42Memorised(f) {
      const value = memorisedWithin(f, 6 * f.bound ** 2 * f.square / f.epsilon);
      return ["Theorem 4.2, Eq (6)", "t1 <=", value, conditions42(f)];
    },
    function theorem42Generalised(f) {
      const slow = atMost("lr * weight_decay", f.lr * f.decay, 0.5);
      return ["Theorem 4.2, Eq (7)", "t2 >=", log(forgetting(f)) / (4 * f.lr * f.decay),
        [...conditions42(f), slow, ...startConditions(f)]];
    },
    function theorem44(f) {
      const ratio = f.square > 0 ? f.epsilon / (6 * f.meanSquare * f.square) : 1;
      const value = log(ratio) / logFactor(f, f.gram / f.n) / 2;
      return ["Theorem 4.4", "t1 <=", Math.max(value, 0), decayConditions(f)];
    },
    function theorem45(f) {
      return ["Theorem 4.5", "t2 >=", -log(forgetting(f)) / 2 / logFactor(f),
        [realizable(f), ...widthConditions(f), ...startConditions(f)]];
    },
    function theorem46(f) {
      return ["Theorem 4.6", "population loss of the limit <=", f.decay * f.teacher ** 2 + f.epsilon,
        [sampleCondition(f), realizable(f), atMost("lr", f.lr, 2 / (f.decay + f.sharpness)),
          trusted("n >= 4 C^2 b^4 ||teacher||^4 / epsilon^2, C not given"),
          trusted("samples are drawn from the population")]];
    },
  ];

  // Every bound: theorem, quantity, value, conditions, and whether there is a number and all of them hold.
  function all(p, s) {
    const known = facts(p, s);
    return ALL.map((law) => {
      const [theorem, quantity, value, conditions] = law(known);
      const guaranteed = !Number.isNaN(value) && conditions.every((condition) => condition.holds);
      return {theorem, quantity, value, conditions, guaranteed, standing: standing(value, conditions, guaranteed)};
    });
  }

  function standing(value, conditions, guaranteed) {
    const told = (chosen) => conditions.filter(chosen).map((condition) => condition.text).join("; ");
    if (!guaranteed) return `not guaranteed: ${told((one) => !one.holds) || "there is no number"}`;
    const trust = told((one) => one.trusted);
    return trust ? `conditions hold; taken on trust: ${trust}` : "conditions hold";
  }

  // The number of a bound as text.
  function number({value, quantity}) {
    if (Number.isNaN(value)) return "nothing: the log of a number <= 0";
    if (!Number.isFinite(value)) return "nothing: it is infinite";
    const side = quantity.slice(-2);
    return Text.rounded(value, [">=", "<="].includes(side) ? side : "~");
  }

  return {all, number};
})();
