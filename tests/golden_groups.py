"""Values of rival equivariant methods and measures, from the inputs of each group (`GROUPS`)."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from eqssl_jax import measures, transforms
from eqssl_jax.objectives import covariance_penalty, unit, variance_hinge, vicreg
from eqssl_jax.objectives.equivariant import (
    augself,
    augself_targets,
    context,
    equimod,
    essl,
    sen,
    seqjepa,
    ser,
    sie,
    stl,
)
from eqssl_jax.objectives.equivariant.layers import Layer, hypernetwork, nt_xent, perceptron
from eqssl_jax.objectives.momentum import negative_cosine

VIEWS = 50  # of an object, in the group of retrieval


def layers(i, prefix, names):
    """Layers by the ends of their keys: ("w0 b0 bn_scale0 bn_bias0", "w1")."""
    kinds = {"w": "weight", "b": "bias", "bn_scale": "scale", "ln_scale": "scale"}
    kinds |= {"bn_bias": "shift", "ln_bias": "shift"}
    return [
        Layer(**{kinds[end.rstrip("0123456789")]: i[prefix + end] for end in ends.split()})
        for ends in names
    ]


def head(i, prefix, names):
    """A perceptron of these layers as a function of rows."""
    return partial(perceptron, layers=layers(i, prefix, names))


def of_vicreg(i):
    x, y = i["x"], i["y"]
    return {
        "inv": jnp.mean((x - y) ** 2),
        "var": variance_hinge(x) + variance_hinge(y),
        "cov": covariance_penalty(x) + covariance_penalty(y),
        "total_25_25_1": vicreg(x, y),
        "total_10_10_1": vicreg(x, y, invariance=10, variance=10, covariance=1),
        "total_25_25_1_var_not_halved": vicreg(x, y, variance=50),
    }


def of_quat(i):
    first, second = (transforms.quaternion_from_euler(i[f"euler_{k}"]) for k in (1, 2))
    relative = transforms.relative_quaternion(first, second, w_positive=False)
    return {
        "single_1": first,
        "single_2": second,
        "relative": relative,
        "relative_matrix": transforms.matrix_from_quaternion(relative),
        "relative_w_positive": transforms.relative_quaternion(first, second),
    }


def of_sie(i):
    x, y = i["x"], i["y"]
    predicted = hypernetwork(i["hyper_w"], i["params"], x[:, 16:])
    parts = sie.terms(x, y, predicted)
    return {
        "prediction": predicted,
        "inv": parts.invariance,
        "eq": parts.equivariance,
        "var": parts.variance,
        "pred_var": parts.predicted_variance,
        "cov": parts.covariance,
        "total": sie.loss(x, y, predicted),
        "total_equi_factor_4p5": sie.loss(x, y, predicted, equivariance=45),
        "total_no_pred_var": sie.loss(x, y, predicted, predicted_variance=0),
    }


def of_sie_head(i, all_inputs):
    names = ("w0 b0 bn_scale0 bn_bias0", "w1 b1 bn_scale1 bn_bias1", "w2")
    heads = [layers(i, prefix, names) for prefix in ("inv_", "equi_")]

    def projected(h):
        parts = zip(jnp.split(h, 2, axis=1), heads, strict=True)
        return jnp.concatenate([perceptron(part, head) for part, head in parts], axis=1)

    x, y = projected(i["hx"]), projected(i["hy"])
    weight, code = all_inputs["sie"]["hyper_w"], all_inputs["sie"]["params"]
    predicted = hypernetwork(weight, code, x[:, x.shape[1] - 16 :])
    return {"projected_x": x, "projected_y": y, "total": sie.loss(x, y, predicted)}


def of_sen(i):
    by_hyper = hypernetwork(i["hyper_w"], i["params"], i["x"])
    linear = sen.linear_prediction(i["x"], i["params"], embed=i["action_w"], predict=i["linear_w"])
    return {
        "direct_tau0p1": sen.loss(i["pred_direct"], i["y"], temperature=0.1),
        "hyper_prediction": by_hyper,
        "hyper_tau0p1": sen.loss(by_hyper, i["y"], temperature=0.1),
        "linear_prediction": linear,
        "linear_tau0p5": sen.loss(linear, i["y"]),
    }


def of_stl(i):
    y1, y2 = i["y1"], i["y2"]
    names = ("w0 bn_scale bn_bias", "w1")
    code, invariant, equivariant, transformation = (
        head(i, prefix, names) for prefix in ("code_", "proj_inv_", "proj_equi_", "proj_trans_")
    )
    c12, c21 = stl.codes(y1, y2, code)
    predicted = stl.predictions(y1, y2, c12, c21, i["hyper_w"])
    parts = (
        stl.invariance(*map(invariant, (y1, y2))),
        stl.equivariance(*map(equivariant, (y1, y2, *predicted))),
        stl.transformation(c12, c21, transformation),
    )
    return {
        "code_12": c12,
        "code_21": c21,
        "predicted_1": predicted[0],
        "predicted_2": predicted[1],
        "inv": parts[0],
        "equi": parts[1],
        "trans": parts[2],
        "total_1_1_0p1": stl.loss(*parts),
        "total_1_1_0p2": stl.loss(*parts, weight=0.2),
    }


def of_essl(i):
    head = layers(i, "head_", [f"w{k} b{k} ln_scale{k} ln_bias{k}" for k in (0, 1)])
    last = layers(i, "head_", ["w2 b2"])
    third = layers(i, "head3_", ["w2 b2 ln_scale2 ln_bias2", "w3 b3"])
    logits = essl.turn_logits(i["features"], head + last)
    logits_3 = essl.turn_logits(i["features"], head + third, relu_before_last=False)
    labels = essl.turn_labels(len(i["features"]) // 4)
    turned = jnp.concatenate([jnp.rot90(i["images"], turns, axes=(2, 3)) for turns in range(4)])
    invariant = {name: essl.cross_view(i["z1"], i["z2"], temperature=t)
                 for name, t in (("0p5", 0.5), ("0p2", 0.2))}  # fmt: skip
    turn, turn_3 = essl.turn_loss(logits, labels), essl.turn_loss(logits_3, i["rotation_labels"])
    return {
        "infonce_tau0p5": invariant["0p5"],
        "infonce_tau0p2": invariant["0p2"],
        "images_rotated": turned,
        "rotation_logits": logits,
        "rotation_ce": turn,
        "total_tau0p5_lambda0p4": essl.loss(invariant["0p5"], turn),
        "rotation_logits_head3": logits_3,
        "rotation_ce_head3": turn_3,
        "total_head3_tau0p2_lambda0p4": essl.loss(invariant["0p2"], turn_3),
    }


def augself_pairs(i):
    """Targets of views (1, 2) and (2, 1) by type."""
    t = augself_targets

    def in_both_orders(function, *names, first=()):
        first_view, second_view = ([i[f"{name}_{k}"] for name in names] for k in (1, 2))
        pairs = [v for pair in zip(first_view, second_view, strict=True) for v in pair]
        back = [v for pair in zip(second_view, first_view, strict=True) for v in pair]
        return function(*pairs, *(i[f"{n}_1"] for n in first)), function(
            *back, *(i[f"{n}_2"] for n in first)
        )

    return {
        "crop": in_both_orders(t.crop, "crop", first=("flip",)),
        "color": in_both_orders(t.color, "factors", "jitter_applied"),
        "flip": in_both_orders(t.flip, "flip"),
        "blur": in_both_orders(t.blur, "sigma", "blur_applied"),
        "rotation": in_both_orders(t.rotation, "quarter_turns"),
        "solarize": in_both_orders(t.solarize, "threshold", "solarize_applied"),
    }


def of_augself(i):
    keys = {"rotation": "rot", "solarize": "sol"}
    values, parts = {}, {}
    for name, targets in augself_pairs(i).items():
        key = keys.get(name, name)
        reader = head(i, f"{key}_", ("w0 bn_scale0 bn_bias0", "w1 bn_scale1 bn_bias1", "w2 b2"))
        output = augself.outputs(i["y1"], i["y2"], reader)
        target = jnp.concatenate(targets)
        parts[name] = augself.LOSSES[name](output, target)
        values |= {f"output_{key}": output, f"loss_{key}": parts[name]}
        for order, rows in zip(("12", "21"), targets, strict=True):
            values[f"target_{key}_{order}"] = rows[:, 0] if key == "sol" else rows
        if key == "sol":
            values["loss_sol_broadcast"] = jnp.mean((jnp.tanh(output) - target.T) ** 2)
    values["total_crop1_color1"] = augself.loss(parts, {"crop": 1, "color": 1})
    values["total_crop0p5_color0p5"] = augself.loss(parts, {"crop": 0.5, "color": 0.5})
    return values


def of_equimod(i):
    params = jnp.concatenate([i["params_1"], i["params_2"]])
    params = equimod.standardised(params, i["cifar10_mean"], i["cifar10_std"])
    embed = layers(i, "param_", ["w bn_scale bn_bias"])[0]
    predicted = equimod.predictions(i["y0"], params, embed=embed, predict=i["pred_w"])
    invariant = nt_xent(i["z1"], i["z2"], temperature=0.5)
    equivariant = equimod.equivariance(i["yt1"], i["yt2"], predicted)
    return {
        "params_standardised": params,
        "predicted": predicted,
        "inv_tau0p5": invariant,
        "equi_tau0p2": equivariant,
        "total": equimod.loss(invariant, equivariant),
        # Of the branch BYOL+EquiMod at 5c936cf, twice the loss of BYOL.
        "byol_term": 4 + 4 * negative_cosine(unit(i["z1"]), unit(i["z2"])),
    }


def gains_of_equimod(i, computed):
    rows = np.concatenate([i["yt1"], i["yt2"]]), computed["predicted"], np.tile(i["y0"], (2, 1))
    gain = measures.displacement_gain(*rows)
    return {"gain": gain.absolute, "gain_relative": gain.relative}


def of_seqjepa(i):
    poses = transforms.quaternion_from_euler(i["euler"])
    relative = transforms.relative_quaternion(poses[:, :-1], poses[:, 1:], w_positive=False)
    scaled = seqjepa.scaled_over_views(i["aug_params"])
    return {
        "loss": seqjepa.loss(i["predicted"], i["target"]),
        "relative": relative,
        "action_observed": seqjepa.action_codes(i["relative_f32"], i["action_w"]),
        "action_predictor": seqjepa.predictor_code(i["relative_f32"][:, -1], i["action_w"]),
        "aug_params_scaled": scaled,
        "aug_relative": seqjepa.changes(scaled)[:, 0],
    }


def of_context(i):
    return {"tau0p1": context.loss(i["z"]), "tau0p5": context.loss(i["z"], temperature=0.5)}


def of_ser(i):
    return {"tau0p5": ser.loss(i["k"], i["q"], positions=4)}


def of_retrieval(i):
    poses = transforms.quaternion_from_euler(i["euler_val"])
    by_object = poses.reshape(-1, VIEWS, 4)
    first = jnp.broadcast_to(by_object[:, :1], by_object.shape)
    codes = transforms.relative_quaternion(first, by_object, w_positive=False).reshape(-1, 4)
    embeddings = i["embeddings_val"].reshape(len(by_object), VIEWS, -1)
    start = jnp.broadcast_to(embeddings[:, :1], embeddings.shape).reshape(len(codes), -1)
    return {"codes": codes, "predicted": hypernetwork(i["hyper_w"], codes, start)}


def measured_retrieval(i, computed):
    values = {}
    val, train = i["embeddings_val"], i["embeddings_train"]
    poses_of = {part: np.asarray(transforms.quaternion_from_euler(i[f"euler_{part}"]))
                for part in ("val", "train")}  # fmt: skip
    banks = {"val": (val, poses_of["val"]),
             "all": tuple(np.concatenate(pair) for pair in
                          ((train, val), (poses_of["train"], poses_of["val"])))}  # fmt: skip
    for normalised, end in ((True, ""), (False, "_unnormalised")):
        sets = (np.reshape(a, (-1, VIEWS, val.shape[1])) for a in (computed["predicted"], val))
        ranks = measures.view_ranks(*sets, normalised=normalised)
        values[f"ranks{end}"] = ranks.ravel()
        values[f"mrr{end}"] = measures.reciprocal_rank(ranks.ravel())
        values |= {f"hit_at_{k}{end}": measures.hits_at(ranks.ravel(), k) for k in (1, 2, 5, 10)}
        others = ranks[:, 1:].ravel()
        values[f"mrr_without_identity{end}"] = measures.reciprocal_rank(others)
        values[f"hit_at_1_without_identity{end}"] = measures.hits_at(others, 1)
        for name, (bank, poses) in banks.items():
            nearest = measures.nearest_views(computed["predicted"], bank, normalised=normalised)
            values[f"nearest_{name}{end}"] = nearest
            values[f"pre_{name}{end}"] = measures.prediction_retrieval_error(
                poses[nearest], poses_of["val"]
            )
    return values


def measured_r2(i, computed):
    values = {}
    for name in ("rotation", "colour"):
        pair = i[f"{name}_target"], i[f"{name}_predicted"]
        values[f"{name}_pooled"] = measures.r2(*pair)
        dimensions = np.stack(pair, axis=1).T  # [D, 2, N]
        values[f"{name}_per_dimension"] = [measures.r2(*dimension) for dimension in dimensions]
        values[f"{name}_mean_of_dimensions"] = measures.r2(*pair, average="per_dimension")
        values[f"{name}_variance_weighted"] = measures.r2(*pair, average="variance_weighted")
    return values


# A group's values in JAX, whose gradients are taken, and those that are measured in NumPy.
GROUPS = {
    "vicreg": (of_vicreg, None),
    "quat": (of_quat, None),
    "sie": (of_sie, None),
    "sie_head": (of_sie_head, None),
    "sen": (of_sen, None),
    "stl": (of_stl, None),
    "essl": (of_essl, None),
    "augself": (of_augself, None),
    "equimod": (of_equimod, gains_of_equimod),
    "seqjepa": (of_seqjepa, None),
    "context": (of_context, None),
    "ser": (of_ser, None),
    "retrieval": (of_retrieval, measured_retrieval),
    "r2": (None, measured_r2),
}

# The inputs, in words, by which a value of a group has a gradient in the file.
GRADIENTS = {
    "vicreg": dict.fromkeys(
        ("inv", "var", "cov", "total_25_25_1", "total_10_10_1", "total_25_25_1_var_not_halved"),
        "x y",
    ),
    "sie": dict.fromkeys(("total", "eq", "pred_var"), "x y hyper_w params"),
    "sie_head": {"total": "hx hy"},
    "sen": {
        "direct_tau0p1": "pred_direct y",
        "hyper_tau0p1": "x y hyper_w",
        "linear_tau0p5": "x y linear_w",
    },
    "stl": dict.fromkeys(("inv", "trans", "total_1_1_0p1", "total_1_1_0p2"), "y1 y2")
    | {"equi": "y1 y2 hyper_w"},
    "essl": dict.fromkeys(("infonce_tau0p5", "infonce_tau0p2"), "z1 z2")
    | dict.fromkeys(("rotation_ce", "rotation_ce_head3"), "features"),
    "augself": dict.fromkeys(
        (
            *(f"loss_{kind}" for kind in ("crop", "color", "flip", "blur", "rot", "sol")),
            "total_crop1_color1",
            "total_crop0p5_color0p5",
        ),
        "y1 y2",
    ),
    "equimod": {"inv_tau0p5": "z1 z2", "equi_tau0p2": "y0 yt1 yt2 pred_w"},
    "seqjepa": {"loss": "predicted"},
    "context": dict.fromkeys(("tau0p1", "tau0p5"), "z"),
    "ser": {"tau0p5": "k q"},
}
