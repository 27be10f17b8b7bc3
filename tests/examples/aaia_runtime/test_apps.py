"""The catalogue of apps."""

from __future__ import annotations

import copy

import attrs
import pytest

from examples.aaia_runtime.apps import DEMOS, AppsService
from examples.aaia_runtime.errors import AppNotFound
from examples.aaia_runtime.logica import FIALogica
from examples.aaia_runtime.sbr import FIASBR


def test_the_demos_are_there() -> None:
    """Under the ids that upstream's clients ask for."""
    apps = {app.id: app for app in AppsService().list_apps()}
    assert set(apps) == {"demo-logica", "demo-sbr", "demo-situada", "demo-hibrida"}
    (fia,) = apps["demo-logica"].fias
    assert (apps["demo-logica"].nombre, fia.nombre) == ("Demo Lógica", "LogicaFIA")
    assert (fia.paradigma, fia.clase) == ("logica", "FIALogica")


def test_an_unknown_app_is_named_as_upstream_names_it() -> None:
    """Word for word."""
    with pytest.raises(AppNotFound) as caught:
        AppsService().app("nope")
    assert (caught.value.message, caught.value.code) == ("App not found: nope", "app_not_found")


def test_fias_are_made_anew_for_each_session() -> None:
    """Two of one app, and none of them the other's."""
    apps = AppsService()
    first = apps.make_fias(apps.app("demo-hibrida"))
    second = apps.make_fias(apps.app("demo-hibrida"))
    assert [type(fia) for fia in first] == [FIALogica, FIASBR]
    assert [fia.index for fia in first] == [0, 1]
    assert not {id(fia) for fia in first} & {id(fia) for fia in second}


def test_whoever_changes_what_was_listed_changes_no_catalogue() -> None:
    """Neither this one nor the demos that every other is made of."""
    apps = AppsService()
    for app in (apps.list_apps()[0], apps.app("demo-logica")):
        app.fias.clear()
        app.mundo_config.modelo_inicial["muerte"] = 0
    assert apps.app("demo-logica") == DEMOS[0]
    assert len(DEMOS[0].fias) == 1


def test_whoever_changes_what_it_was_made_from_changes_no_catalogue() -> None:
    """It was given a catalogue, not a share in one."""
    given = copy.deepcopy(DEMOS[0])
    apps = AppsService([given])
    given.fias.clear()
    assert apps.app("demo-logica") == DEMOS[0]


def test_an_app_of_a_class_that_is_not_there_is_refused_at_once() -> None:
    """Not when its first session is made."""
    fia = attrs.evolve(DEMOS[0].fias[0], clase="FIAMagica")
    with pytest.raises(ValueError, match="app demo-logica: there is no FIA class FIAMagica"):
        AppsService([attrs.evolve(DEMOS[0], fias=[fia])])
